"""Style sheet of the HTML report; light and dark by the reader's setting, printable."""

STYLE = """
:root { --ink: #1d2126; --soft: #5d6670; --line: #dfe3e8; --page: #f4f5f7; --card: #ffffff; --accent: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --soft: #9aa4ae; --line: #353b42; --page: #16191d; --card: #1f2429; --accent: #56b4e9; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 4px; }
h2 { font-size: 18px; margin: 34px 0 12px; }
.facts { color: var(--soft); margin: 0 0 18px; overflow-wrap: anywhere; }
.facts b { color: var(--ink); font-weight: 600; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 18px; min-width: 110px; }
.tile span { display: block; color: var(--soft); font-size: 13px; }
.tile b { font-size: 26px; font-weight: 650; font-variant-numeric: tabular-nums; }
.two, .wide, .full { display: grid; gap: 14px; align-items: start; }
.two { grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); }
.half { max-width: 593px; }
.wide { width: min(1800px, 100vw - 60px); margin-left: 50%; transform: translateX(-50%); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px; overflow: hidden; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 5px 10px 5px 0; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; font-size: 13px; }
tbody tr:last-child td { border-bottom: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bar { width: 45%; padding-left: 12px; }
.bar i { display: block; height: 10px; background: var(--accent); border-radius: 2px; min-width: 1px; }
figure { margin: 0; overflow: auto; }
label { cursor: zoom-in; }
label input { display: none; }
label input:checked + img { width: auto; max-width: none; cursor: zoom-out; }
img { display: block; width: 100%; height: auto; border-radius: 4px; }
figcaption { color: var(--soft); font-size: 13px; margin-top: 6px; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .chart-title { font-weight: 600; font-size: 14px; }
svg .tick { fill: var(--soft); }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .axis { stroke: var(--soft); stroke-width: 1; }
.verdict { border-left: 5px solid var(--soft); margin-bottom: 12px; }
.verdict.error { border-left-color: #d62839; } .verdict.warning { border-left-color: #e08e0b; } .verdict.note { border-left-color: #0072b2; }
.verdict.ok { border-left-color: #2a9d4a; }
.verdict h3 { font-size: 15px; margin: 0 0 4px; overflow-wrap: anywhere; }
.verdict h3 span { text-transform: uppercase; font-size: 11px; letter-spacing: .06em; color: var(--soft); margin-right: 8px; }
.verdict p { margin: 2px 0; overflow-wrap: anywhere; }
.verdict .advice { color: var(--soft); }
.pictures { display: flex; flex-wrap: wrap; gap: 12px; margin-top: 10px; align-items: flex-start; }
.pictures figure { max-width: 440px; }
.pictures img { max-height: 210px; width: auto; max-width: 100%; }
.pictures label input:checked + img { max-height: none; }
details { margin-top: 6px; } summary { cursor: pointer; color: var(--soft); font-size: 13px; }
details ul { margin: 6px 0; padding-left: 20px; font-size: 13px; overflow-wrap: anywhere; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; }
.card .facts { margin: 8px 0 0; font-size: 13px; }
.scroll { overflow-x: auto; }
@media print { body { background: white; } .card, .tile { break-inside: avoid; } }
"""
