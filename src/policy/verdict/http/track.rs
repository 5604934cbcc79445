//! The state machine for one source of lines.
//!
//! After the blank line that ends a header block nothing counts until the program begins another
//! response. Each [`Form`] has its own sign for that:
//!
//! - [`Form::Plain`]: the place. The next status line stands right after the body, whose length
//!   `Content-Length` gives, or right after the block if the response has no body. A body of
//!   unknown length lasts to the end of the stream.
//! - [`Form::Marked`] and [`Form::Indented`]: the line before. It is a line of curl or of wget.
//!
//! Surprises: `curl -fv` ends a block with a note instead of a blank line. `curl -L` prints no body
//! of a redirect, and `curl -I` and `curl -f` print none either, whatever `Content-Length` says. If
//! a status line follows at once, the block after it counts unless the whole body arrives after all
//! ([`Doubt`]). httpie prints requests too, and a request may quote a response.

use super::head::{Framing, Head, Length};
use super::line::{self, Form, StatusLine};
use super::place::{Place, Taken};
use super::response::stands_alone;
use super::{Answers, Printed, Source};

#[derive(Debug, Clone)]
enum State {
    /// No complete block so far. Lone status lines and fields may count.
    Start,
    Head(Box<Head>),
    /// In the header block of a request.
    Request {
        framing: Framing,
        exact: bool,
    },
    /// Right after a block.
    After(Follow),
    /// Right after a body or a bodiless response.
    Between {
        exact: bool,
    },
    /// The program prints other text between two responses.
    Aside,
    /// After a block in this form. A status line at the offset may follow at once.
    Awaits {
        form: Form,
        at_once: Option<u64>,
    },
}

/// What follows a block.
#[derive(Debug, Clone, Copy)]
struct Follow {
    from: u64,
    length: Length,
    passed_over: bool,
    exact: bool,
}

/// A status line stands where the body should be. If this offset arrives, it was the body.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    end: u64,
    /// The number of answers before.
    answers: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Track {
    /// The offset of the next line to read. A body is skipped: this is the offset of its end.
    pub(super) next: u64,
    state: State,
    /// The form of the complete blocks so far.
    form: Option<Form>,
    doubt: Option<Doubt>,
    /// Whether curl or wget announced a response at the end of the piece before.
    announced_by_curl: bool,
    announced_by_wget: bool,
    /// There was a request, so the program prints header blocks.
    asked: bool,
}

impl Default for Track {
    fn default() -> Self {
        Self {
            next: 0,
            state: State::Start,
            form: None,
            doubt: None,
            announced_by_curl: false,
            announced_by_wget: false,
            asked: false,
        }
    }
}

impl Track {
    /// Whether there was a complete block.
    pub(super) fn has_block(&self) -> bool {
        self.form.is_some()
    }

    /// Whether the machine needs every line, and not only those that match the candidate pattern.
    pub(super) fn needs_every_line(&self) -> bool {
        match self.state {
            State::Head(_) | State::Request { .. } | State::After(_) | State::Between { .. } => true,
            State::Start | State::Aside | State::Awaits { .. } => false,
        }
    }

    /// The stream has arrived up to this offset. If that is the end of a body in doubt, it is a body.
    pub(super) fn arrived(&mut self, offset: u64, source: Source, answers: &mut Answers) {
        if let Some(doubt) = self.doubt.filter(|doubt| doubt.end <= offset) {
            answers.forget(source, doubt.answers);
            self.doubt = None;
            self.next = doubt.end;
            self.state = State::Between { exact: true };
        }
    }

    /// A line was too long for a header block.
    pub(super) fn long_line(&mut self) {
        match self.state {
            State::After(follow) => self.skip(follow),
            State::Between { .. } => self.state = self.outside(),
            State::Start | State::Head(_) | State::Request { .. } | State::Aside | State::Awaits { .. } => {}
        }
    }

    /// The end of a piece.
    pub(super) fn leave(&mut self, text: &[u8]) {
        self.announced_by_curl = self.is_announced_by_curl(Some(text));
        self.announced_by_wget = line::is_announced_by_wget(text);
    }

    fn is_announced_by_curl(&self, before: Option<&[u8]>) -> bool {
        before.and_then(line::is_announced_by_curl).unwrap_or(self.announced_by_curl)
    }

    pub(super) fn line(&mut self, line: &[u8], place: &Place<'_>, answers: &mut Answers) -> Taken {
        let (text, breaks) = line::trimmed(line);
        match std::mem::replace(&mut self.state, State::Start) {
            State::Head(head) => match head.line.form {
                Form::Plain => self.in_plain(head, text, breaks, place, answers),
                Form::Marked => self.in_marked(head, text, place, answers),
                Form::Indented => self.in_indented(head, text, place, answers),
            },
            State::Request { framing, exact } => {
                self.in_request(framing, exact && breaks == 1, text, place, answers)
            }
            State::After(follow) => self.after(follow, text, place, answers),
            State::Between { exact } => self.between(exact, text, place, answers),
            state @ (State::Start | State::Aside | State::Awaits { .. }) => {
                self.state = state;
                self.elsewhere(text, place, answers)
            }
        }
    }

    /// The end of the stream.
    pub(super) fn finish(&mut self, source: Source, bare: bool, answers: &mut Answers) {
        if let State::Head(head) = std::mem::replace(&mut self.state, State::Start) {
            // wget prints only blocks that it has read to their end.
            if head.line.form == Form::Indented && head.is_block() {
                self.push(*head, source, answers);
            } else {
                self.abandon(*head, source, bare, answers);
            }
        }
    }

    /// The state outside of blocks and bodies.
    fn outside(&self) -> State {
        match self.form {
            None => State::Start,
            Some(Form::Plain) => State::Aside,
            Some(form @ (Form::Marked | Form::Indented)) => State::Awaits { form, at_once: None },
        }
    }

    /// A line outside of blocks and bodies.
    fn elsewhere(&mut self, text: &[u8], place: &Place<'_>, answers: &mut Answers) -> Taken {
        if let Some(status) = line::status_line(text) {
            if self.may_begin(status, breaks(text, place) == 0, place) {
                return self.begin(status, text, place, answers);
            }
            return Taken::Text;
        }
        let late = place.source == Source::Stdout
            && !place.bare
            && self.form.is_none()
            && !self.asked
            && place.start > 0;
        if line::is_request(text) && !late && !matches!(self.state, State::Awaits { .. }) {
            self.asked = true;
            self.state = State::Request { framing: Framing::default(), exact: true };
            return Taken::Block;
        }
        let unmarked = line::marked(text).unwrap_or(line::after_blanks(text));
        match line::field(unmarked) {
            Some((name, value)) if self.form.is_none() && place.takes_lone() && stands_alone(name) => {
                answers.lone_field(place.source, name, value);
                Taken::Block
            }
            Some(_) | None => Taken::Text,
        }
    }

    fn may_begin(&self, line: StatusLine, is_lone: bool, place: &Place<'_>) -> bool {
        // The program prints its headers first, or prints none.
        if place.source == Source::Stdout && !place.bare && matches!(self.state, State::Start) {
            let first = place.start == 0 || self.asked;
            let may = place.printed != Some(Printed::LoneLines) || is_lone;
            return first && may && line.form == Form::Plain && !line.bare;
        }
        let of_curl = || self.is_announced_by_curl(place.before);
        let of_wget = || place.before.map_or(self.announced_by_wget, line::is_announced_by_wget);
        match (&self.state, line.form) {
            (State::Awaits { form: Form::Marked, at_once }, Form::Marked) => {
                *at_once == Some(place.start) || of_curl()
            }
            (State::Awaits { form: Form::Indented, .. }, Form::Indented) => !line.bare && of_wget(),
            (State::Awaits { .. }, _) => false,
            (State::Aside, form) => form == Form::Plain && !line.bare,
            (_, _) if line.bare => place.takes_lone(),
            (_, Form::Plain) => place.takes_blocks(),
            (_, Form::Marked) => place.source != Source::Both || of_curl(),
            (_, Form::Indented) => place.source != Source::Both || of_wget(),
        }
    }

    fn begin(&mut self, line: StatusLine, text: &[u8], place: &Place<'_>, answers: &mut Answers) -> Taken {
        answers.begins(place.source);
        let breaks = breaks(text, place);
        // A line without an end is the rest of a block, unless it is no longer than a script's.
        let cut = !place.ended && !line.bare && memchr::memchr_iter(b' ', text).nth(1).is_some();
        self.state = State::Head(Box::new(Head::new(line, breaks > 0 || cut, breaks == 1)));
        Taken::Block
    }

    fn in_plain(
        &mut self,
        mut head: Box<Head>,
        text: &[u8],
        breaks: usize,
        place: &Place<'_>,
        answers: &mut Answers,
    ) -> Taken {
        let folded = text.first().is_some_and(|b| super::value::is_blank(*b)) && head.raw;
        let blank = line::after_blanks(text).is_empty() && !folded;
        head.exact &= breaks == 1;
        if blank {
            self.close(*head, place, answers);
        } else if folded {
            head.fold(text);
            self.state = State::Head(head);
        } else if let Some((name, value)) = line::field(line::after_blanks(text)) {
            head.field(name, value);
            self.state = State::Head(head);
        } else if head.raw && breaks > 0 && line::status_line(text).is_none() && !line::is_request(text) {
            // A server sent a line that is no field, and the program passed it on.
            self.state = State::Head(head);
        } else {
            self.abandon(*head, place.source, place.bare, answers);
            self.state = self.outside();
            return self.elsewhere(text, place, answers);
        }
        Taken::Block
    }

    /// In a block of curl -v, the lines without a mark are of no account.
    fn in_marked(
        &mut self,
        mut head: Box<Head>,
        text: &[u8],
        place: &Place<'_>,
        answers: &mut Answers,
    ) -> Taken {
        let marked = line::marked(text);
        match marked {
            Some([]) => self.close(*head, place, answers),
            None if line::is_end_of_failed_block(text) => self.close(*head, place, answers),
            Some(_) if let Some(line) = line::status_line(text) => {
                self.abandon(*head, place.source, place.bare, answers);
                return self.begin(line, text, place, answers);
            }
            Some(rest) => {
                match line::field(rest) {
                    Some((name, value)) => head.field(name, value),
                    None if super::value::is_blank(rest[0]) => head.fold(rest),
                    None => {}
                }
                self.state = State::Head(head);
            }
            None => self.state = State::Head(head),
        }
        if marked.is_some() { Taken::Block } else { Taken::Text }
    }

    /// A block of wget -S ends with the first line that is not indented.
    fn in_indented(
        &mut self,
        mut head: Box<Head>,
        text: &[u8],
        place: &Place<'_>,
        answers: &mut Answers,
    ) -> Taken {
        let rest = line::after_blanks(text);
        if rest.len() == text.len() || rest.is_empty() {
            self.close(*head, place, answers);
            return if matches!(self.state, State::Awaits { .. }) {
                Taken::Text
            } else {
                self.elsewhere(text, place, answers)
            };
        }
        if let Some(line) = line::status_line(text) {
            // wget goes on at once after these, and after any response with -q. It prints bodies on
            // stdout.
            let goes_on = matches!(head.line.status, 100..=199 | 300..=399 | 401 | 407);
            let may = goes_on || place.source != Source::Both || !head.is_block();
            self.close(*head, place, answers);
            return if may { self.begin(line, text, place, answers) } else { Taken::Text };
        }
        if let Some((name, value)) = line::field(rest) {
            head.field(name, value);
        }
        self.state = State::Head(head);
        Taken::Block
    }

    fn in_request(
        &mut self,
        mut framing: Framing,
        exact: bool,
        text: &[u8],
        place: &Place<'_>,
        answers: &mut Answers,
    ) -> Taken {
        if text.is_empty() {
            self.state = match framing.length() {
                // A program that lays out the request for a terminal may lay out its body too.
                Length::Bytes(_) if !exact => self.outside(),
                Length::Bytes(length) => {
                    self.next = place.end.saturating_add(length);
                    State::Between { exact }
                }
                Length::Unknown if framing.is_chunked() => self.outside(),
                Length::Unknown => State::Between { exact },
            };
        } else if let Some((name, value)) = line::field(text) {
            framing.field(name, value);
            self.state = State::Request { framing, exact };
        } else if super::value::is_blank(text[0]) {
            self.state = State::Request { framing, exact };
        } else {
            self.state = self.outside();
            return self.elsewhere(text, place, answers);
        }
        Taken::Block
    }

    fn after(&mut self, follow: Follow, text: &[u8], place: &Place<'_>, answers: &mut Answers) -> Taken {
        let in_file = place.source == Source::HeadersFile;
        let end = match follow.length {
            Length::Bytes(length) => Some(follow.from.saturating_add(length)),
            Length::Unknown => None,
        };
        let doubtful = end.filter(|end| *end > place.arrived && place.source == Source::Stdout);
        match line::status_line(text).filter(|line| line.form == Form::Plain && !line.bare) {
            Some(line) if follow.passed_over || in_file => return self.begin(line, text, place, answers),
            Some(line) if let Some(end) = doubtful => {
                self.doubt = Some(Doubt { end, answers: answers.pushed });
                return self.begin(line, text, place, answers);
            }
            None if text.is_empty() && (doubtful.is_some() || in_file) => {
                self.state = State::After(Follow { passed_over: false, ..follow });
                return Taken::Block;
            }
            // Trailer fields.
            None if in_file && line::field(text).is_some() => {
                self.state = State::After(follow);
                return Taken::Block;
            }
            Some(_) | None => {}
        }
        self.skip(follow);
        Taken::Body
    }

    /// Skips a body.
    fn skip(&mut self, follow: Follow) {
        self.next = match follow.length {
            Length::Bytes(length) => follow.from.saturating_add(length),
            Length::Unknown => u64::MAX,
        };
        self.state = State::Between { exact: follow.exact };
    }

    fn between(&mut self, exact: bool, text: &[u8], place: &Place<'_>, answers: &mut Answers) -> Taken {
        if let Some(line) = line::status_line(text)
            && line.form == Form::Plain
            && !line.bare
        {
            return self.begin(line, text, place, answers);
        }
        // httpie ends a message with empty lines, and adds this line with --meta.
        if text.is_empty() || text.starts_with(b"Elapsed time: ") {
            self.state = State::Between { exact };
            return Taken::Block;
        }
        self.state = self.outside();
        if matches!(self.state, State::Start) || line::is_request(text) {
            return self.elsewhere(text, place, answers);
        }
        if exact && place.source != Source::Both {
            // The program itself wrote it, as with curl -w.
            return Taken::Text;
        }
        // The body is longer than its length says, because the program laid it out.
        self.next = u64::MAX;
        Taken::Body
    }

    /// The line that ends a block.
    fn close(&mut self, head: Head, place: &Place<'_>, answers: &mut Answers) {
        if !head.is_block() {
            self.abandon(head, place.source, place.bare, answers);
            self.state = self.outside();
            return;
        }
        let mut head = head;
        head.flush();
        let form = head.line.form;
        self.state = if form != Form::Plain {
            let informs = matches!(head.line.status, 100..=199);
            State::Awaits { form, at_once: informs.then_some(place.end) }
        } else if place.has_no_bodies() {
            State::Aside
        } else if head.is_bodiless() && place.source != Source::HeadersFile {
            State::Between { exact: head.exact }
        } else {
            State::After(Follow {
                from: place.end,
                length: head.framing.length(),
                passed_over: head.is_passed_over(),
                exact: head.exact,
            })
        };
        self.push(head, place.source, answers);
    }

    /// A complete block.
    fn push(&mut self, mut head: Head, source: Source, answers: &mut Answers) {
        head.flush();
        self.form = Some(head.line.form);
        answers.push(head.response, source, false);
    }

    /// A block without an end. A lone status line is no block, and has none.
    fn abandon(&mut self, mut head: Head, source: Source, bare: bool, answers: &mut Answers) {
        head.flush();
        let lone = !head.raw || (bare && head.fields == 0 && source != Source::HeadersFile);
        if self.form.is_none() && (lone || bare || source == Source::HeadersFile) {
            answers.push(head.response, source, !lone);
        }
    }
}

/// The number of carriage returns at the end of a line.
fn breaks(text: &[u8], place: &Place<'_>) -> usize {
    let length = usize::try_from(place.end - place.start).unwrap_or(usize::MAX);
    length.saturating_sub(text.len() + 1)
}
