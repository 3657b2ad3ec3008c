"""The page's style sheet: one column, light or dark as the reader's screen is."""

# Ten colours that differ for colour-blind eyes too (after Okabe and Ito 2008, and Tol 2021).
_LIGHT = ("#0b66c3", "#d1571b", "#14866d", "#b3388a", "#7a5c00", "#5b52c9", "#2b91b8", "#a8323e",
          "#5f6b76", "#3d7d1f")  # fmt: skip
_DARK = ("#6cb2ff", "#ff9a5c", "#45c9a5", "#ef7cc6", "#d9b43a", "#a79cff", "#67cdf0", "#ff8791",
         "#a4b0bc", "#93d470")  # fmt: skip


def _colours(values: tuple[str, ...]) -> str:
    return "".join(
        f".s{i}{{stroke:{c}}}.f{i}{{fill:{c}}}.k{i}{{background:{c}}}" for i, c in enumerate(values)
    )


STYLE = f"""
:root{{--ink:#1c2430;--soft:#5d6876;--paper:#fbfbfa;--card:#fff;--edge:#e2e5e9;--shade:#f2f4f7;
--best:#0b66c3}}
body{{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}}
main{{max-width:1080px;margin:0 auto;padding:32px 24px 64px}}
h1{{font-size:27px;line-height:1.2;margin:0 0 6px;letter-spacing:-.01em}}
h2{{font-size:21px;margin:44px 0 4px}} h3{{font-size:16px;margin:28px 0 4px}}
p{{margin:4px 0 10px;max-width:76ch}} .soft{{color:var(--soft)}} .small{{font-size:13px}}
.card{{background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:14px 18px;
margin:10px 0 18px;overflow-x:auto}}
.facts{{display:flex;flex-wrap:wrap;gap:10px;margin:16px 0}}
.facts div{{background:var(--card);border:1px solid var(--edge);border-radius:10px;
padding:8px 16px;min-width:90px}}
.facts b{{display:block;font-size:20px;font-variant-numeric:tabular-nums}}
.facts span{{color:var(--soft);font-size:12.5px}}
table{{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}}
th,td{{padding:5px 9px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--edge)}}
th:first-child,td:first-child{{text-align:left}}
thead th{{color:var(--soft);font-weight:600;font-size:12.5px;white-space:normal;
vertical-align:bottom;border-bottom:2px solid var(--edge)}}
tbody tr:hover{{background:var(--shade)}} tr.group td{{border-top:2px solid var(--edge)}}
td.best{{font-weight:700;color:var(--best)}} td small{{color:var(--soft);display:block}}
.key{{display:flex;flex-wrap:wrap;gap:4px 16px;margin:6px 0 2px;font-size:13px}}
.key i{{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px}}
.pair{{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:0 18px}}
p.small{{max-width:88ch}}
svg{{width:100%;height:auto;display:block;font:12px system-ui,sans-serif}}
svg text{{fill:var(--ink)}} svg .tick{{fill:var(--soft);font-size:11px}}
svg .axis{{fill:var(--soft);font-size:12px}} svg .label{{font-size:12px}}
svg .grid{{stroke:var(--edge);stroke-width:1}} svg .zero{{stroke:var(--soft);stroke-width:1.5}}
svg .line{{fill:none;stroke-width:2}} svg .dashed{{stroke-dasharray:5 4;stroke-width:1.5}}
svg .dot{{stroke:var(--card);stroke-width:1}}
details{{margin:8px 0}} summary{{cursor:pointer;color:var(--soft)}}
pre{{font-size:12.5px;white-space:pre-wrap;overflow-wrap:anywhere}}
{_colours(_LIGHT)}
@media(prefers-color-scheme:dark){{
:root{{--ink:#e7ebf0;--soft:#9aa5b1;--paper:#12161c;--card:#1a2027;--edge:#2e3742;--shade:#212932;
--best:#6cb2ff}}
{_colours(_DARK)}}}
@media print{{.card{{break-inside:avoid}}}}
"""
