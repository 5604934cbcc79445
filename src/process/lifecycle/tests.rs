use nix::sys::signal::Signal as Name;

use super::super::signal::stream::Request;
use super::*;

const START: Duration = Duration::from_secs(1000);

/// The time of the events in the table. It is before each limit of [`settings`].
const NOW: Duration = Duration::from_secs(1001);

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A timeout of 60 s, and five seconds from TERM to KILL.
fn settings() -> AttemptSettings {
    let limits = Limits { timeout: Some(s(60)), signal: Signal::TERM, kill_after: s(5) };
    AttemptSettings { role: Role::Command, limits, deadline: None, measures_run_time: false, is_last: false }
}

fn received(name: Name, request: Request) -> Received {
    let signal = Signal::reported(name as i32);
    Received { signal, name, request, by_kernel: false, sender: 1 }
}

fn interrupt() -> Event {
    Event::EndRequested(received(Name::SIGINT, Request::End))
}

fn stop_request(command_is_stopped: bool) -> Event {
    Event::StopRequested { received: received(Name::SIGTSTP, Request::Stop), command_is_stopped }
}

fn stopped(stops_job: bool) -> Event {
    Event::CommandStopped { signal: Signal::reported(libc::SIGTSTP), stops_job }
}

fn exited(status: u8) -> Event {
    Event::CommandEnded(Outcome::Exited(status))
}

fn survivors(why: Alive) -> Event {
    Event::Survived(vec![Survivor { pid: Some(7), why }])
}

fn lifecycle_in(state: State) -> Lifecycle {
    Lifecycle { state, ..Lifecycle::new(settings(), START) }
}

fn states() -> [State; 7] {
    let limit = Limit::Timeout(s(60));
    [
        State::Running,
        State::StopAsked { at: START },
        State::StoppedAlone,
        State::Ended(Outcome::Exited(7)),
        State::Terminating { limit, kill_at: s(1005) },
        State::Killing { cause: KillCause::Limit(limit), again_at: s(1001), give_up_at: s(1005) },
        State::Over(Outcome::Exited(7)),
    ]
}

fn events() -> [(&'static str, Event); 19] {
    [
        ("EndRequested", interrupt()),
        ("EndRequestedTooLate", Event::EndRequestedTooLate(Signal::INT)),
        ("Notified", Event::Notified(received(Name::SIGUSR1, Request::Notify))),
        ("StopRequested, the command runs", stop_request(false)),
        ("StopRequested, the command is stopped", stop_request(true)),
        ("ContinueRequested", Event::ContinueRequested(received(Name::SIGCONT, Request::Continue))),
        ("CommandStopped alone", stopped(false)),
        ("CommandStopped with the job", stopped(true)),
        ("CommandEnded", exited(7)),
        ("OutputPassed", Event::OutputPassed),
        ("Resumed", Event::Resumed { stopped_for: s(1) }),
        ("Tick", Event::Tick),
        ("KillSent, complete", Event::KillSent { complete: true }),
        ("KillSent, cut short", Event::KillSent { complete: false }),
        ("NothingLeft", Event::NothingLeft),
        ("SomethingLeft", Event::SomethingLeft),
        ("Survived: of another user", survivors(Alive::Foreign)),
        ("Survived: cannot be killed", survivors(Alive::Unkillable)),
        ("Survived: none", Event::Survived(Vec::new())),
    ]
}

fn state_name(state: &State) -> &'static str {
    match state {
        State::Running => "Running",
        State::StopAsked { .. } => "StopAsked",
        State::StoppedAlone => "StoppedAlone",
        State::Ended(_) => "Ended",
        State::Terminating { .. } => "Terminating",
        State::Killing { .. } => "Killing",
        State::Over(_) => "Over",
    }
}

fn action_name(action: &Action) -> &'static str {
    match action {
        Action::PassOn(_) => "PassOn",
        Action::StopWithCommand(_) => "StopWithCommand",
        Action::Terminate(_) => "Terminate",
        Action::Kill => "Kill",
        Action::LookForProcesses => "LookForProcesses",
        Action::KillSurvivors => "KillSurvivors",
    }
}

/// For each pair of an event and a state, the table has the actions and the next state. A state
/// that does not change is left out.
#[test]
fn every_event_in_every_state() {
    let mut table = String::new();
    for (name, event) in events() {
        table += &format!("{name}\n");
        for state in states() {
            let mut lifecycle = lifecycle_in(state.clone());
            let actions: Vec<&str> = lifecycle.on(event.clone(), NOW).iter().map(action_name).collect();
            let next = if lifecycle.state == state { "" } else { state_name(&lifecycle.state) };
            let row = format!("    {:<13}-> {next:<13}{}", state_name(&state), actions.join(", "));
            table += &format!("{}\n", row.trim_end());
        }
    }
    assert!(table == include_str!("table.txt"), "{table}");
}

/// The actions for a series of events. Each event comes with its time.
fn play(lifecycle: &mut Lifecycle, events: &[(Duration, Event)]) -> Vec<Vec<Action>> {
    events.iter().map(|(at, event)| lifecycle.on(event.clone(), *at)).collect()
}

#[test]
fn a_timeout_terminates_and_then_kills() {
    let mut lifecycle = Lifecycle::new(settings(), START);
    assert_eq!(lifecycle.wake_at(START), Some(s(1001)));
    assert_eq!(lifecycle.wake_at(s(1059) + Duration::from_millis(500)), Some(s(1060)));
    let actions = play(
        &mut lifecycle,
        &[
            (s(1059), Event::Tick),
            (s(1061), Event::Tick),
            (s(1061), Event::SomethingLeft),
            (s(1065), Event::Tick),
            (s(1066), Event::Tick),
            (s(1066), Event::KillSent { complete: true }),
            (s(1066), Event::SomethingLeft),
            (s(1066), survivors(Alive::Unkillable)),
        ],
    );
    let look = Action::LookForProcesses;
    assert_eq!(
        actions,
        [
            vec![],
            vec![Action::Terminate(Signal::TERM), look],
            vec![],
            vec![look],
            vec![Action::Kill],
            vec![look],
            vec![Action::KillSurvivors],
            vec![],
        ]
    );
    // The first KILL was sent at 1066, five seconds after TERM. Each round is timed from its own
    // start.
    assert_eq!(lifecycle.wake_at(s(1066)), Some(s(1066) + KILL_PAUSE));
    assert_eq!(lifecycle.on(Event::Tick, s(1067)), [Action::Kill]);
    assert_eq!(lifecycle.on(Event::KillSent { complete: false }, s(1067)), [Action::LookForProcesses]);
    assert_eq!(lifecycle.wake_at(s(1067)), Some(s(1067)), "a round that was cut short goes on at once");
    assert_eq!(lifecycle.on(Event::Tick, s(1071)), [Action::LookForProcesses], "five seconds are over");
    assert_eq!(lifecycle.ending(s(1071)), None);
    assert_eq!(lifecycle.on(survivors(Alive::Unkillable), s(1071)), []);
    let ending = lifecycle.ending(s(1072)).unwrap();
    let left = vec![Survivor { pid: Some(7), why: Alive::Unkillable }];
    let cut = Cut { limit: Limit::Timeout(s(60)), ended_by: Signal::KILL, left };
    assert_eq!(ending.outcome, Outcome::TimedOut(cut));
    assert_eq!(ending.ran, s(60), "the attempt ran until its limit");
}

#[test]
fn processes_that_end_by_the_first_signal_are_not_killed() {
    let mut lifecycle = Lifecycle::new(settings(), START);
    let events = [(s(1060), Event::Tick), (s(1061), exited(0)), (s(1061), Event::NothingLeft)];
    play(&mut lifecycle, &events);
    let cut = Cut { limit: Limit::Timeout(s(60)), ended_by: Signal::TERM, left: Vec::new() };
    assert_eq!(lifecycle.ending(s(1061)).unwrap().outcome, Outcome::TimedOut(cut));
}

#[test]
fn without_patience_kill_is_the_first_signal() {
    for limits in [
        Limits { kill_after: Duration::ZERO, ..settings().limits },
        Limits { signal: Signal::KILL, ..settings().limits },
    ] {
        let mut lifecycle = Lifecycle::new(AttemptSettings { limits, ..settings() }, START);
        assert_eq!(lifecycle.on(Event::Tick, s(1060)), [Action::Kill]);
    }
}

#[test]
fn the_earlier_limit_ends_the_attempt_and_a_timeout_outranks_a_deadline() {
    for (timeout, deadline, now, limit, ran) in [
        (60, 1030, 1030, Limit::Deadline(s(90)), 30),
        (20, 1030, 1020, Limit::Timeout(s(20)), 20),
        (20, 1010, 1025, Limit::Timeout(s(20)), 20),
        (60, 990, 1001, Limit::Deadline(s(90)), 0),
    ] {
        let limits = Limits { timeout: Some(s(timeout)), ..settings().limits };
        let deadline = Some(Deadline { at: s(deadline), length: s(90) });
        let settings = AttemptSettings { limits, deadline, ..settings() };
        let mut lifecycle = Lifecycle::new(settings, START);
        play(&mut lifecycle, &[(s(now), Event::Tick), (s(now), Event::NothingLeft)]);
        let Ending { outcome, ran: time, .. } = lifecycle.ending(s(now)).unwrap();
        assert!(matches!(&outcome, Outcome::TimedOut(cut) if cut.limit == limit), "{outcome:?}");
        assert_eq!(time, s(ran));
    }
}

#[test]
fn a_stop_of_retry_puts_the_timeout_off_and_not_the_deadline() {
    let deadline = Some(Deadline { at: s(1070), length: s(70) });
    let mut lifecycle = Lifecycle::new(AttemptSettings { deadline, ..settings() }, START);
    play(&mut lifecycle, &[(s(1030), Event::Resumed { stopped_for: s(9) }), (s(1068), Event::Tick)]);
    assert_eq!(lifecycle.state, State::Running);
    assert_eq!(lifecycle.wake_at(s(1068) + Duration::from_millis(500)), Some(s(1069)));
    play(&mut lifecycle, &[(s(1030), Event::Resumed { stopped_for: s(9) }), (s(1069), Event::Tick)]);
    assert_eq!(lifecycle.state, State::Running);
    play(&mut lifecycle, &[(s(1070), Event::Tick), (s(1070), Event::NothingLeft)]);
    assert_eq!(lifecycle.ending(s(1070)).unwrap().ran, s(52), "without the stops");
}

#[test]
fn output_is_waited_for_until_a_limit_or_a_signal() {
    let ended = || {
        let mut lifecycle = Lifecycle::new(settings(), START);
        play(&mut lifecycle, &[(NOW, exited(0)), (NOW, Event::Tick)]);
        assert!(lifecycle.waits_for_output());
        lifecycle
    };
    for (event, now, ran) in
        [(Event::OutputPassed, NOW, 1), (interrupt(), s(1003), 3), (Event::Tick, s(1065), 60)]
    {
        let mut lifecycle = ended();
        assert_eq!(lifecycle.on(event, now), []);
        let ending = lifecycle.ending(now).unwrap();
        assert_eq!((ending.outcome, ending.ran), (Outcome::Exited(0), s(ran)));
    }
    // retry does not wait for the output of an interrupted command.
    let mut lifecycle = Lifecycle::new(settings(), START);
    play(&mut lifecycle, &[(NOW, interrupt()), (NOW, exited(0))]);
    assert_eq!(lifecycle.ending(NOW).unwrap().interrupted, Some(Signal::INT));
}

#[test]
fn the_first_signal_counts_and_one_that_came_too_late_interrupts_the_wait() {
    let term = Event::EndRequested(received(Name::SIGTERM, Request::End));
    let late = Event::EndRequestedTooLate(Signal::INT);
    for (events, outcome, interrupted, too_late) in [
        (vec![interrupt(), term.clone()], exited(0), Some(Signal::INT), None),
        (vec![late.clone()], exited(0), None, Some(Signal::INT)),
        (vec![late.clone(), Event::EndRequestedTooLate(Signal::TERM)], exited(0), None, Some(Signal::INT)),
        (vec![term, late.clone()], exited(0), Some(Signal::TERM), Some(Signal::INT)),
        // The signal reached the command while it was starting, and ended it.
        (vec![late], Event::CommandEnded(Outcome::Signaled(Signal::INT)), Some(Signal::INT), None),
    ] {
        let mut lifecycle = Lifecycle::new(settings(), START);
        for event in events.into_iter().chain([outcome]) {
            let _ = lifecycle.on(event, NOW);
        }
        let ending = lifecycle.ending(NOW).unwrap();
        assert_eq!((ending.interrupted, ending.too_late), (interrupted, too_late));
    }
}

#[test]
fn a_stop_long_after_it_was_asked_for_has_another_cause() {
    for (stops_at, follows) in [(s(1005), true), (s(1006), false)] {
        let mut lifecycle = Lifecycle::new(settings(), START);
        let actions = play(&mut lifecycle, &[(NOW, stop_request(false)), (stops_at, stopped(false))]);
        assert_eq!(actions[1].is_empty(), !follows, "{stops_at:?}");
        assert_eq!(lifecycle.state == State::StoppedAlone, !follows);
    }
}

#[test]
fn retry_sleeps_for_a_second_at_most_if_a_stop_of_it_would_matter() {
    let limits = Limits { timeout: None, ..settings().limits };
    let deadline = Some(Deadline { at: s(1090), length: s(90) });
    for (measures_run_time, deadline, wake_at) in [
        (false, None, None),
        (false, deadline, Some(s(1090))),
        (true, None, Some(NOW + LONGEST_SLEEP)),
        (true, deadline, Some(NOW + LONGEST_SLEEP)),
    ] {
        let settings = AttemptSettings { limits, deadline, measures_run_time, ..settings() };
        assert_eq!(Lifecycle::new(settings, START).wake_at(NOW), wake_at);
    }
}

#[test]
fn kill_follows_a_signal_only_for_a_check_or_a_hook() {
    let limits = Limits { timeout: None, ..settings().limits };
    let command = AttemptSettings { limits, ..settings() };
    let beside = AttemptSettings { role: Role::Beside, ..command };
    let mut lifecycle = Lifecycle::new(command, START);
    play(&mut lifecycle, &[(NOW, interrupt()), (s(2000), Event::Tick)]);
    assert_eq!((lifecycle.wake_at(NOW), &lifecycle.state), (None, &State::Running));

    let mut lifecycle = Lifecycle::new(beside, START);
    // A second signal does not put KILL off.
    play(&mut lifecycle, &[(NOW, interrupt()), (s(1003), interrupt()), (s(1005), Event::Tick)]);
    assert_eq!((lifecycle.wake_at(NOW), &lifecycle.state), (Some(s(1006)), &State::Running));
    let events = [(s(1006), Event::Tick), (s(1006), exited(0)), (s(1006), Event::NothingLeft)];
    assert_eq!(play(&mut lifecycle, &events)[0], [Action::Kill]);
    let Ending { outcome, interrupted, .. } = lifecycle.ending(s(1006)).unwrap();
    assert_eq!((outcome, interrupted), (Outcome::Signaled(Signal::KILL), Some(Signal::INT)));

    // A hook that ends in time is not killed.
    let mut lifecycle = Lifecycle::new(beside, START);
    let actions = play(&mut lifecycle, &[(NOW, interrupt()), (s(1005), exited(3)), (s(1007), Event::Tick)]);
    assert_eq!(actions[1..], [vec![], vec![]]);
    assert_eq!(lifecycle.ending(s(1007)).unwrap().outcome, Outcome::Exited(3));

    // A deadline that comes after the signal does not put KILL off either.
    let deadline = Some(Deadline { at: s(1003), length: s(90) });
    let mut lifecycle = Lifecycle::new(AttemptSettings { deadline, ..beside }, START);
    let actions = play(&mut lifecycle, &[(NOW, interrupt()), (s(1003), Event::Tick), (s(1006), Event::Tick)]);
    assert_eq!(actions[2], [Action::Kill]);
}
