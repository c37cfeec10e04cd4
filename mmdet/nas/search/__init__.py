from .exchange import Alone, Torchrun, join
from .outputs import OUTPUT_FILES
from .population import Front, Member, Population, distance, diverse
from .runner import SearchRunner, parse_duration
from .settings import SearchSettings, read_settings
from .strategies import Evolution, ReferenceEvolution, Strategy

__all__ = [
    'OUTPUT_FILES', 'Alone', 'Evolution', 'Front', 'Member', 'Population', 'ReferenceEvolution', 'SearchRunner', 'SearchSettings', 'Strategy', 'Torchrun',
    'distance', 'diverse', 'join', 'parse_duration', 'read_settings',
]  # fmt: skip
