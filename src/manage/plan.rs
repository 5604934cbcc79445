//! The plan of a run, for the terminal at stdout or for another program.

use crate::cli::action::Planned;
use crate::policy::plan::Plan;
use crate::policy::stream::Stream;
use crate::report::plan::{Screen, Subject};
use crate::report::subject::Volume;
use crate::report::wording::read;
use crate::streams::pseudoterminal::size;
use crate::streams::standard::Standard as _;

/// The text for stdout.
pub(super) fn plan(Planned { run, clients, has_command, json }: &Planned) -> String {
    let plan = Plan::new(&run.policy, *clients, run.seed);
    let subject = Subject {
        label: &run.label,
        has_command: *has_command,
        policy: &run.policy,
        seed: run.seed,
        plan: &plan,
    };
    if *json {
        return subject.json();
    }
    let terminal = size(Stream::Stdout.fd()).map(|size| size.ws_col);
    subject.text(Screen::new(&run.environment, terminal))
}

/// The line for stderr, with `-v`: which policy has been read.
pub(super) fn aside(Planned { run, .. }: &Planned) -> Vec<String> {
    let policy = run.policy_file.as_ref().filter(|_| run.volume == Volume::Verbose);
    policy.map(|policy| format!("retry: {}", read(policy))).into_iter().collect()
}
