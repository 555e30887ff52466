//! Clocks of processes, moved: a library that is loaded before the C library adds to what they show.

use super::{Cluster, poll, process};

const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long moved(const char *name) {
    char text[32] = {0};
    int file = open(getenv(name), O_RDONLY);
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    return length > 0 ? atol(text) : 0;
}
int clock_gettime(clockid_t id, struct timespec *at) {
    int answer = syscall(SYS_clock_gettime, id, at);
    if (answer == 0 && id == CLOCK_BOOTTIME) at->tv_sec += moved("MOVED_LEASES");
    if (answer == 0 && id == CLOCK_REALTIME) at->tv_sec += moved("MOVED_WALL");
    return answer;
}
int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    int answer = syscall(SYS_gettimeofday, at, zone);
    if (answer == 0) at->tv_sec += moved("MOVED_WALL");
    return answer;
}
"#;

/// Moves the clock that leases run on, and the wall clock, each by itself. Tokens end by the wall clock of the database,
/// which has that of the control that started it.
pub(crate) struct MovableClock {
    dir: tempfile::TempDir,
}

impl MovableClock {
    pub(crate) fn build() -> Self {
        let clock = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        clock.advance_leases(0);
        clock.advance_wall(0);
        std::fs::write(clock.dir.path().join("clock.c"), LIBRARY).unwrap();
        let built = std::process::Command::new("cc")
            .args(["-shared", "-fPIC", "-o", "clock.so", "clock.c"])
            .current_dir(clock.dir.path())
            .status();
        assert!(built.unwrap().success());
        // A control of root's has its database run by somebody else.
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(clock.dir.path(), all).unwrap();
        clock
    }

    /// What the process whose clocks move is started with.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let file = |name: &str| self.dir.path().join(name).display().to_string();
        vec![
            ("LD_PRELOAD".to_owned(), file("clock.so")),
            ("MOVED_LEASES".to_owned(), file("leases")),
            ("MOVED_WALL".to_owned(), file("wall")),
        ]
    }

    /// Moves the clock of leases so many seconds ahead of the real one.
    pub(crate) fn advance_leases(&self, seconds: u32) {
        self.write("leases", seconds);
    }

    /// Moves the wall clock so many seconds ahead of the real one.
    pub(crate) fn advance_wall(&self, seconds: u32) {
        self.write("wall", seconds);
    }

    /// Moves the time of a cluster whose control was started with this, and that alone; its gateway has heard of it then.
    pub(crate) async fn advance_cluster(&self, cluster: &Cluster, seconds: u32) {
        self.advance_wall(seconds);
        poll("the gateway to hear the time", || async {
            let name = "sortie_gateway_clock_ahead_seconds";
            let ahead = process::metric(cluster.ports.gateway_admin, name).await?;
            ((ahead + f64::from(seconds)).abs() < 30.0).then_some(())
        })
        .await;
    }

    /// Sets the wall clock so many seconds ahead of the real one, or behind it.
    pub(crate) fn set_wall(&self, seconds: i64) {
        self.write("wall", seconds);
    }

    fn write(&self, name: &str, seconds: impl Into<i64>) {
        std::fs::write(self.dir.path().join(name), seconds.into().to_string()).unwrap();
    }
}
