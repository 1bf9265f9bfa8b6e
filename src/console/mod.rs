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

macro_rules! asset {
    ($folder:literal, $name:literal, $content_type:expr) => {
        Asset {
            name: $name,
            content_type: $content_type,
            text: include_str!(concat!($folder, $name)),
        }
    };
}

pub const CONSOLE: &str = include_str!("console.html");
pub const CONSOLE_FILES: &[Asset] = &[
    asset!("", "console.css", CSS),
    asset!("", "console.js", JS),
];

pub const SHOP: &str = include_str!("shop/shop.html");
pub const SHOP_FILES: &[Asset] = &[
    asset!("shop/", "shop.css", CSS),
    asset!("shop/", "shop.js", JS),
];
