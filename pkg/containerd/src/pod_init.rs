//! Process 1 of a pod with `shareProcessNamespace`: it does nothing but reap, until it is told to end.

/// Runs as the first process of a pod's PID namespace. `main` calls it before anything else when
/// its first argument is `pod-init`. Ends with SIGTERM or SIGINT.
pub fn pod_init() -> ! {
    // SAFETY: plain system calls on values of our own; there is one thread and no allocation after.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, c"pod-init".as_ptr());
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut signals);
        for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT] {
            libc::sigaddset(&mut signals, signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &signals, std::ptr::null_mut());
        loop {
            // Children that ended before the signals were blocked are met here too.
            while libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) > 0 {}
            let mut signal = 0;
            libc::sigwait(&signals, &mut signal);
            if signal == libc::SIGTERM || signal == libc::SIGINT {
                libc::_exit(0);
            }
        }
    }
}
