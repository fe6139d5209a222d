"""The style of the page: light and dark, from 360 pixels up.

A state is named in words, too; its colour only helps to find it. ``c0`` to ``c5`` are the colours
of the pictures.
"""

from __future__ import annotations

__all__ = ["STYLE"]

_PICTURE = "".join(
    f".area.c{number}{{fill:var(--c{number})}}.line.c{number}{{stroke:var(--c{number})}}i.c{number}{{background:var(--c{number})}}\n"
    for number in range(6)
)

STYLE = (
    """
:root{
  --bg:#f6f7f9;--card:#fff;--text:#1b1f24;--quiet:#5b6470;--rule:#dfe3e8;--good:#17703c;--warn:#8a5300;
  --bad:#b3261e;--c0:#2f7d4f;--c1:#6b8fd6;--c2:#a9b2bd;--c3:#d99a1c;--c4:#c8372d;--c5:#3a5fb0;}
@media(prefers-color-scheme:dark){:root{
  --bg:#14171b;--card:#1d2127;--text:#e6e9ed;--quiet:#9aa4b0;--rule:#323842;--good:#63c98b;--warn:#e5b04c;
  --bad:#ff8a80;--c0:#4fae78;--c1:#7fa3ea;--c2:#6c7683;--c3:#e0a93a;--c4:#ef6b61;--c5:#86a8f0;}}
*{box-sizing:border-box}
body{
  margin:0 auto;max-width:1280px;padding:16px;background:var(--bg);color:var(--text);
  font:15px/1.45 system-ui,sans-serif;overflow-wrap:break-word;}
.tiles small{white-space:normal}
h1{font-size:1.35rem;margin:0}
h2{font-size:1.05rem;margin:0 0 8px}
h3{font-size:.9rem;margin:16px 0 4px}
p{margin:0}
.quiet,small,th{color:var(--quiet);font-size:.85rem;font-weight:400}
small{display:block}
a{color:inherit}
header,footer{padding:4px 4px 12px}
section{
  background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:14px 16px;margin-bottom:14px;
  min-width:0;}
.state{border-left:8px solid}
.state h2{font-size:1.5rem;margin:0}
.state.good h2{color:var(--good)}
.state.good{border-left-color:var(--good)}
.state.warn{border-left-color:var(--warn)}
.state.bad{border-left-color:var(--bad)}
.state.warn h2,.warn{color:var(--warn)}
.state.bad h2,.bad{color:var(--bad)}
.good{color:var(--good)}
section.state{color:var(--text)}
.state ul{margin:8px 0 0;padding-left:20px}
.messages li{font-weight:600}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:14px;margin:0 0 14px}
.tiles div{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:10px 16px}
dt{color:var(--quiet);font-size:.85rem}
.tiles dd{margin:0;font-size:1.5rem;font-weight:600;text-wrap:balance}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:0 14px}
.pictures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:18px 24px}
figure{margin:0;min-width:0}
svg{display:block;width:100%;height:110px;margin-top:6px;background:var(--bg);border-bottom:1px solid var(--quiet)}
.line{fill:none;stroke-width:2;vector-effect:non-scaling-stroke}
.axis{display:flex;justify-content:space-between}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 14px;margin:2px 0 0;padding:0;font-size:.85rem}
.legend i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:5px}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th,td{padding:4px 14px 4px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule)}
tbody tr:last-child td{border-bottom:0}
th{white-space:nowrap}
td b{font-weight:600}
.numbers td,.number{font-variant-numeric:tabular-nums}
.numbers td:not(:first-child){white-space:nowrap}
.numbers th:not(:first-child),.numbers td:not(:first-child){text-align:right}
#partitions :is(th,td):is(:nth-child(2),:last-child){text-align:left;padding-left:14px}
#newest td:not(:last-child){white-space:nowrap}
#newest td:last-child{min-width:220px}
.pairs{margin:10px 0 0}
.pairs div{display:flex;justify-content:space-between;gap:16px;padding:3px 0}
.pairs dd{margin:0;text-align:right;font-variant-numeric:tabular-nums}
code{font:.85em ui-monospace,monospace}
.long,#settings td:last-child{overflow-wrap:anywhere}
summary{cursor:pointer}
summary h2{display:inline}
@media(max-width:560px){
  body{padding:8px}section{padding:12px}.tiles{grid-template-columns:repeat(2,minmax(0,1fr));gap:8px;margin-bottom:8px}
  .tiles div{padding:8px 12px}.tiles dd{font-size:1.1rem}td small{display:none}th,td{padding-right:8px}
  #newest thead,#settings thead,#schemas thead{display:none}
  :is(#newest,#settings,#schemas) tr{display:block;padding:6px 0;border-bottom:1px solid var(--rule)}
  :is(#newest,#settings,#schemas) td{display:inline-block;border:0;padding:0 12px 0 0;min-width:0}
  :is(#newest,#settings,#schemas) td:last-child{display:block;white-space:normal;min-width:0;overflow-wrap:anywhere}
}
"""
    + _PICTURE
)
