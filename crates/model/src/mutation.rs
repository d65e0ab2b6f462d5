//! Deliberate bugs, to prove that the checkers catch them.
//!
//! Without the feature `mutations`, [`active`] is a constant `false` and the compiler removes
//! every bug. With it, a test turns one on for its own thread; the simulator runs in one thread.

/// A bug that a mutation test can turn on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Entries are logged before what they depend on.
    NoDependencyCheck,
    /// A link sends only its own region's entries.
    NoRelaying,
    /// Writes are acknowledged before they are durable.
    AcknowledgedBeforeDurable,
    /// The smaller version wins.
    VersionsComparedWrongly,
    /// Entries that are held already are applied again.
    AppliedTwice,
    /// Recovery drops the last whole frame along with a torn one.
    TailLostOnTornWrite,
    /// A region whose log lost its tail goes on and gives its sequences out again.
    SequenceUsedAgain,
    /// Tombstones go as soon as every member has applied them, whatever is still on its way here.
    CollectedByPlainWatermark,
    /// Removing a member of a set also removes additions of it that the removal had not seen.
    RemovalOfUnseenAdditions,
    /// A read doesn't wait for what its token says.
    TokenIgnored,
    /// A region that holds a write counts as two.
    AcknowledgementCountedTwice,
    /// A strong read asks no other region.
    StrongReadAsksNobody,
    /// A strong read shows what too few regions hold.
    StrongReadNotHeld,
    /// A snapshot is said to reach as far as the log does by the time its last part is sent.
    SnapshotWithoutTail,
    /// Fewer votes than a majority decide an epoch.
    EvictedByMinority,
    /// A region goes on taking an incarnation's stream after it adopted an epoch without it.
    TakenBeyondTheCut,
    /// Repair takes a row from whoever still has it, whatever the majority says.
    RepairResurrectsDelete,
    /// A region that joins takes writes before it votes.
    JoinerWrites,
    /// The log is trimmed as if nobody joined.
    LogNotKeptForJoiner,
    /// A write that was handed on and isn't answered is handed on again.
    ForwardedAgain,
    /// A write is handed on without its client's idempotency key.
    ForwardedWithoutKey,
    /// What only a region holds that is about to leave counts as held.
    LeavingConfirms,
    /// A region has left once the others hold its own stream, whatever it confirmed of theirs.
    GoneWithWhatItConfirmed,
    /// A token is waited for beyond the cut of an incarnation that has gone.
    TokenNotCut,
    /// A damaged row met while catching up makes a region forget decisions about dead letters.
    DecisionForgottenAtDamage,
    /// One observer's word is enough for a verdict.
    OneObserverDecides,
    /// Observers that have lost touch with the majority vote like the others.
    ObserversCutOffVote,
    /// A region that hears of no majority goes on changing verdicts.
    VerdictWithoutMajority,
    /// What an observer reported once counts for ever.
    ReportsKeptForEver,
    /// An answer that comes after its time limit is thrown away.
    LateAnswersDropped,
    /// A service that flaps is up again as soon as it answers.
    NoHoldDown,
    /// Reports reach only those to whom the observer itself can speak.
    ReportsNotRelayed,
    /// Observers that have fallen silent count as votes for whatever they observed.
    SilenceSpeaksForService,
    /// Who loses the vote is forgotten at once, instead of counting as one who doesn't know.
    NoFading,
    /// One failure is enough to fall.
    NoHysteresis,
    /// A region that comes back takes all of its clients at once.
    NoRamp,
    /// Regions that are down are left out of answers, whatever else is left.
    AnswersWithoutTheDown,
    /// Without a quorum a region answers with peers that it can't reach itself.
    UnreachedPeersAnswered,
    /// A drained region is answered like any other.
    DrainsIgnored,
    /// The horizon counts as captured as soon as it is read.
    HorizonTooEarly,
    /// A writer that was probed counts as captured as soon as it is found.
    ProbeTrustedAtOnce,
    /// A counter that is by chance what a batch makes it counts as written.
    SumsTakenForRows,
    /// What waits for a row that constraints keep out is not tried again when that row changes.
    ParkedForgotten,
    /// A part of a large transaction shows before the last has come.
    PartsShownAtOnce,
    /// Of a table that was emptied only the rows go that the same transaction had written.
    EmptiedTableKept,
    /// What was never given to a server counts as given, where rows are told by comparing.
    NothingGivenForgotten,
    /// A row of a server that came back counts as older if the log has any state of it.
    AnyStateIsOlder,
    /// What a server that came back writes counts as having seen no more than the server was given.
    SeenGoesBack,
    /// What a server has yet to be given is forgotten when its slot goes before that.
    LostTwiceForgotten,
    /// A data directory that is older than its server goes on as if it were not.
    OlderDirectoryTrusted,
    /// A row that is kept out of a server counts as deleted there when it is compared.
    ParkedTakenForDeleted,
    /// What the server of a region that joins writes absorbs nothing that the others may have collected.
    NothingAbsorbed,
}

#[cfg(feature = "mutations")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

/// Whether this bug is turned on in this thread.
#[must_use]
#[inline]
pub fn active(mutation: Mutation) -> bool {
    #[cfg(feature = "mutations")]
    return ACTIVE.with(|active| active.get() == Some(mutation));
    #[cfg(not(feature = "mutations"))]
    {
        let _ = mutation;
        false
    }
}

/// Turns a bug on in this thread, or all off.
#[cfg(feature = "mutations")]
pub fn activate(mutation: Option<Mutation>) {
    ACTIVE.with(|active| active.set(mutation));
}
