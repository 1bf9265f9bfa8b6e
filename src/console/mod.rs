//! What people look at: the operations page, and in `dev` a demo shop and its shoppers. All of it is in the binary.

pub mod rush;

/// A file of a page.
pub struct Asset {
    pub name: &'static str,
    pub content_type: &'static str,
    pub text: &'static str,
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// The files of a page, by the folder they lie in.
macro_rules! assets {
    ($folder:literal: $(($name:literal, $content_type:expr)),* $(,)?) => {
        &[$(Asset { name: $name, content_type: $content_type, text: include_str!(concat!($folder, $name)) }),*]
    };
}

pub const CONSOLE: &str = include_str!("console.html");
pub const CONSOLE_FILES: &[Asset] = assets!["":
    ("audit.js", JS),
    ("charts.js", JS),
    ("console.css", CSS),
    ("console.js", JS),
    ("dom.js", JS),
    ("format.js", JS),
    ("panels.js", JS),
    ("rush.js", JS),
    ("stream.js", JS),
    ("tick.js", JS),
    ("uPlot.iife.min.js", JS),
    ("uPlot.min.css", CSS),
];

pub const SHOP: &str = include_str!("shop/shop.html");
pub const SHOP_FILES: &[Asset] = assets!["shop/":
    ("api.js", JS),
    ("page.js", JS),
    ("pictures.js", JS),
    ("rules.js", JS),
    ("shop.css", CSS),
    ("shop.js", JS),
    ("views.js", JS),
    ("words.js", JS),
];
