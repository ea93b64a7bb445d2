// SPDX-License-Identifier: GPL-2.0

//! SIGINT, SIGTERM and SIGHUP: recorded when they arrive and obeyed between two steps, so that the
//! devices created so far are removed first.
//!
//! Until [`Signals::catch`] they end the program at once, as by default.

use crate::error::{Error, Result, Status};
use crate::executor::Watch;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register_usize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// The signals that arrived.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// The number of the last one; 0 if none arrived.
    last: Arc<AtomicUsize>,
}

impl Signals {
    /// Records signals from here on.
    ///
    /// # Errors
    ///
    /// If the kernel refuses a handler.
    pub fn catch() -> Result<Self> {
        let signals = Self::default();
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            let number = usize::try_from(signal).unwrap_or_default();
            register_usize(signal, Arc::clone(&signals.last), number)
                .map_err(|error| Error::io("cannot handle signals", &error))?;
        }
        Ok(signals)
    }

    /// Fails if a signal arrived.
    ///
    /// # Errors
    ///
    /// [`Status::Signal`].
    pub fn check(&self) -> Result<()> {
        match self.last.load(Ordering::Relaxed) {
            0 => Ok(()),
            number => {
                let number = u8::try_from(number).unwrap_or(u8::MAX);
                Err(Error::new(
                    Status::Signal(number),
                    format!("ended by signal {number}; nothing is left behind"),
                ))
            }
        }
    }
}

/// Ends the work when a signal arrived and, in a build for tests, at a step that a test chooses.
#[derive(Debug)]
pub struct Guard {
    signals: Signals,
    #[cfg(feature = "faults")]
    faults: faults::Faults,
}

impl Guard {
    /// A guard that checks these signals.
    #[must_use]
    pub fn new(signals: Signals) -> Self {
        Self {
            signals,
            #[cfg(feature = "faults")]
            faults: faults::Faults::from_environment(),
        }
    }
}

impl Watch for Guard {
    fn step(&mut self, done: &str) -> Result<()> {
        #[cfg(feature = "faults")]
        self.faults.step(done)?;
        #[cfg(not(feature = "faults"))]
        let _ = done;
        self.signals.check()
    }
}

/// Faults for tests: OVERLAYBDSETUP_FAULT=KIND:STEP, where KIND is `kill`, `term`, `int` or `fail`,
/// and STEP the number of a step, from 1.
#[cfg(feature = "faults")]
mod faults {
    use crate::error::{Error, Result};
    use rustix::process::{getpid, kill_process, Signal};

    #[derive(Debug)]
    pub(super) struct Faults {
        kind: String,
        left: u32,
    }

    impl Faults {
        pub(super) fn from_environment() -> Self {
            let text = std::env::var("OVERLAYBDSETUP_FAULT").unwrap_or_default();
            let (kind, step) = text.split_once(':').unwrap_or_default();
            Self {
                kind: kind.to_string(),
                left: step.parse().unwrap_or(0),
            }
        }

        pub(super) fn step(&mut self, done: &str) -> Result<()> {
            if self.left == 0 {
                return Ok(());
            }
            self.left -= 1;
            if self.left > 0 {
                return Ok(());
            }
            eprintln!("fault: {} after: {done}", self.kind);
            let signal = match self.kind.as_str() {
                "kill" => Signal::KILL,
                "term" => Signal::TERM,
                "int" => Signal::INT,
                _ => return Err(Error::refused(format!("told to fail after: {done}"))),
            };
            kill_process(getpid(), signal)
                .map_err(|errno| Error::io("cannot signal itself", &errno.into()))
        }
    }
}
