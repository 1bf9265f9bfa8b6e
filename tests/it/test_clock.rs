//! A clock that a test can move: the real Redis, told another time of day by a small library of ours that is
//! preloaded into it (`test_clock.c`).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The clock of one Redis.
pub struct TestClock {
    file: File,
    path: PathBuf,
    offset_seconds: std::sync::atomic::AtomicI64,
}

impl TestClock {
    /// A clock that shows the machine's time, until it is moved.
    pub fn new(folder: &Path) -> Self {
        let path = folder.join("clock");
        std::fs::write(&path, [0; 2 * size_of::<i64>()]).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        Self { file, path, offset_seconds: 0.into() }
    }

    /// What Redis is to be started with.
    pub fn env(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        vec![
            ("LD_PRELOAD".to_owned(), text(library())),
            ("FIRSTCOME_TEST_CLOCK".to_owned(), text(&self.path)),
        ]
    }

    /// Moves the clock on; at once, for the next script already.
    pub fn advance_seconds(&self, seconds: i64) {
        use std::sync::atomic::Ordering::SeqCst;
        let offset = self.offset_seconds.fetch_add(seconds, SeqCst) + seconds;
        self.file.write_all_at(&offset.to_ne_bytes(), 0).unwrap();
    }

    /// Stops the clock at a time, which may be before the last one.
    pub fn stop_at(&self, at_ms: i64) {
        self.file.write_all_at(&at_ms.to_ne_bytes(), size_of::<i64>() as u64).unwrap();
    }

    pub fn advance_hours(&self, hours: i64) {
        self.advance_seconds(hours * 3_600);
    }
}

/// Compiles the library once for this run.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let library = super::test_servers::fresh_folder().join("test_clock.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/test_clock.c");
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let done = Command::new(compiler)
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .status()
            .expect("a C compiler, which the set-up asks for");
        assert!(done.success(), "{} does not compile", source.display());
        library
    })
}
