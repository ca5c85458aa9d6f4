//! The machine that was measured, in two lines.

use std::fs;
use std::thread;

/// Processor and cores that this process may use, then the kernel.
pub(crate) fn describe() -> [String; 2] {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model(&cpuinfo).unwrap_or("processor of unknown model");
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    [
        format!("machine: {model}, {cores} cores allowed"),
        format!("kernel: Linux {}", kernel.trim()),
    ]
}

/// What `/proc/cpuinfo` calls the first processor.
fn model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_that_of_the_first_processor() {
        let text =
            "processor\t: 0\nmodel name\t: Fast 9000\n\nprocessor\t: 1\nmodel name\t: Other\n";
        assert_eq!(model(text), Some("Fast 9000"));
        assert_eq!(model("processor : 0\n"), None);
    }
}
