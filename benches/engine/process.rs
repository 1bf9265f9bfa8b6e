//! What the kernel tells of a process: the processor's time it took, and its memory.

use std::fs;

/// The kernel counts in hundredths of a second on every Linux, whatever its own clock does.
const TICK_US: f64 = 10_000.0;

/// Microseconds of the processor that a process has used, all its threads together; 0 where it is gone.
pub fn cpu_us(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is the program's name in brackets, and may hold spaces. Fields 14 and 15 are the times.
    let Some((_, after_name)) = stat.rsplit_once(") ") else { return 0.0 };
    let times = after_name.split(' ').skip(11).take(2);
    times.filter_map(|it| it.parse::<f64>().ok()).sum::<f64>() * TICK_US
}

/// Resident memory of a process in bytes; 0 where it is gone.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
    line.and_then(|it| it.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// A process that is watched, by the name that the table has for it.
pub type Watched = (&'static str, u32);

/// What each of some processes used up to one moment.
#[derive(Debug, Clone, Default)]
pub struct CpuTimes(Vec<(&'static str, f64)>);

impl CpuTimes {
    pub fn of(watched: &[Watched]) -> Self {
        Self(watched.iter().map(|(name, pid)| (*name, cpu_us(*pid))).collect())
    }

    /// Microseconds that each used since `earlier`, for each of `count` things done in between.
    pub fn per_thing_since(&self, earlier: &Self, count: u64) -> Vec<(&'static str, f64)> {
        let each = |used: f64| if count == 0 { 0.0 } else { used / count as f64 };
        self.0.iter().zip(&earlier.0).map(|(now, before)| (now.0, each(now.1 - before.1))).collect()
    }
}
