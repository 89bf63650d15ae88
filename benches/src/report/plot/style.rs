//! Colours and styles, in one place for the page and the files.

/// The name of a colour, with its values on light and on dark ground.
const COLOURS: [(&str, &str, &str); 16] = [
    ("paper", "#ffffff", "#14171c"),
    ("ink", "#1c2330", "#e6e9ee"),
    ("soft", "#5b6576", "#9aa4b2"),
    ("grid", "#e3e6eb", "#2c323c"),
    ("good", "#0f7b46", "#4cc38a"),
    ("bad", "#c62828", "#ff7b72"),
    ("wash", "#fbe4e2", "#42211f"),
    // Series colours, distinct also for readers with red-green colour blindness.
    ("s0", "#1f6feb", "#58a6ff"),
    ("s1", "#d9730d", "#f0953f"),
    ("s2", "#0a8f72", "#35c9a5"),
    ("s3", "#8a3ffc", "#be95ff"),
    ("s4", "#c2186b", "#ff7eb6"),
    ("s5", "#6b5b1e", "#d2b44a"),
    ("s6", "#0e7490", "#39c5de"),
    ("s7", "#4b5563", "#b0b8c4"),
    ("mark", "#1c2330", "#e6e9ee"),
];

/// The number of distinct series colours; further series repeat them, dashed.
pub(super) const SERIES: usize = 8;

const PLOT: &str = "\
.plot{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',sans-serif;font-size:12px}
.plot .paper{fill:var(--paper)}
.plot text{fill:var(--ink)}
.plot .title{font-size:16px;font-weight:600}
.plot text.soft{fill:var(--soft)}
.plot .small{font-size:11px;fill:var(--soft)}
.plot .strong{font-weight:600}
.plot .halo{paint-order:stroke;stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}
.plot line{stroke-width:1px}
.plot .grid{stroke:var(--grid)}
.plot .fine{stroke:var(--grid);stroke-opacity:.5}
.plot .base{stroke:var(--soft)}
.plot .line{fill:none;stroke:currentColor;stroke-width:2.2px;stroke-linejoin:round;stroke-linecap:round}
.plot .dash{stroke-dasharray:2 5}
.plot .dot{fill:currentColor;stroke:var(--paper);stroke-width:1.5px;stroke-dasharray:none}
.plot .ring{fill:none;stroke:var(--mark);stroke-width:2px}
.plot .beyond{fill:var(--wash)}
.plot .must{stroke:var(--bad)}
.plot .aim{stroke:var(--good);stroke-dasharray:3 2}
.plot .sample{fill:var(--s0);fill-opacity:.45}
.plot .median{stroke:var(--ink);stroke-width:2px}
";

/// Returns colours and plot styles for a page, in the reader's choice of light or dark.
pub(in super::super) fn page_style() -> String {
    let list = |pick: fn(&(&str, &str, &str)) -> String| COLOURS.iter().map(pick).collect::<String>();
    let light = list(|(name, light, _)| format!("--{name}:{light};"));
    let dark = list(|(name, _, dark)| format!("--{name}:{dark};"));
    format!(
        ":root{{color-scheme:light dark;{light}}}\n\
         @media(prefers-color-scheme:dark){{:root{{{dark}}}}}\n{}",
        plot_style()
    )
}

/// Returns a plot's style with light colours written out: not every renderer supports variables.
pub(super) fn file_style() -> String {
    COLOURS
        .iter()
        .fold(plot_style(), |style, (name, light, _)| style.replace(&format!("var(--{name})"), light))
}

fn plot_style() -> String {
    let series = (0..SERIES).map(|at| format!(".plot .s{at}{{color:var(--s{at})}}\n"));
    PLOT.to_owned() + &series.collect::<String>()
}
