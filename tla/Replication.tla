----------------------------- MODULE Replication -----------------------------
(* One partition on its brokers, while leaders, ISRs and processes come and go: *)
(* rules L1 to L6, P3, and B1, B4 as far as a partition sees them.            *)
(*                                                                            *)
(*   clients --Produce-> leader <--Fetch-- followers                          *)
(*                         |  ^                                               *)
(*          AlterPartition v  | Replay (the metadata, late)                   *)
(*                       controller --Fence, Unfence, registration            *)
(*                                                                            *)
(* The controller is one atomic register here: that its log survives is the   *)
(* quorum's matter, and that it may fail over, Controller's. Brokers hear of  *)
(* its decisions late. Requests to it and, if FetchesInFlight, fetches are    *)
(* under way for as long as it pleases, may be lost and come too late.        *)
(* Faults are paid for from `left`; that is all that bounds a behaviour,      *)
(* beside MaxLeaderEpoch.                                                     *)
EXTENDS Partition

CONSTANTS
    Replicas,           \* the brokers of the partition, in order of preference
    FlushBeforeAck,     \* acknowledge only what is on disk
    FetchesInFlight,    \* FALSE: a fetch and its answer are one step
    MaxLeaderEpoch,     \* what would begin a later one does not happen
    Budget              \* [appends, fences, silences, cleanStops, lossyStops]

VARIABLES
    partition,      \* the controller's registration of the partition
    registration,   \* by broker: its registration's epoch, and whether fenced
    broker,         \* by broker: process, log, and what it knows; see NewBroker
    fetches,        \* by follower and leader: the fetch or answer under way
    alters,         \* by leader: the AlterPartition or answer under way
    acknowledged,   \* by value: the offset under which acks=all was answered, or -1
    shown,          \* by offset: the first record that a consumer was shown there
    left            \* the part of Budget that is not spent

vars == <<partition, registration, broker, fetches, alters, acknowledged, shown, left>>

Brokers == Range(Replicas)

Active == {b \in Brokers : ~registration[b].fenced}

RegisteredEpochs == [b \in Brokers |-> registration[b].epoch]

(******************************** a broker ***********************************)

(* A record at offset o is log[o + 1]. Who writes acks=all waits in `waiting` *)
(* by its record's offset.                                                    *)
NoView == [leader |-> None, leaderEpoch |-> -1, isr |-> {}, recovering |-> FALSE,
           partitionEpoch |-> -1, brokers |-> <<>>]

NoProgress == [fetched |-> FALSE, end |-> 0, epoch |-> -1, over |-> FALSE]

NobodysProgress == [b \in Brokers |-> NoProgress]

NoProposal == [kind |-> "none"]

(* What a process has in memory when it starts; hw is checkpointed.           *)
Fresh(log, flushed, hw) ==
    [process |-> "up", log |-> log, flushed |-> flushed, hw |-> hw, view |-> NoView,
     progress |-> NobodysProgress, proposal |-> NoProposal, waiting |-> {}]

End(s) == Len(s.log)

LastEpoch(log) == IF log = <<>> THEN -1 ELSE log[Len(log)].epoch

(* The largest epoch not above `epoch` in the log, and where it ends.         *)
EndOfEpoch(log, epoch) ==
    LET upTo == {i \in DOMAIN log : log[i].epoch <= epoch}
        last == IF upTo = {} THEN 0 ELSE CHOOSE i \in upTo : \A j \in upTo : j <= i
    IN [epoch |-> IF last = 0 THEN epoch ELSE log[last].epoch, end |-> last]

Leads(b, s) == s.view.leader = b

Follows(b, s) == s.view.leader \notin {None, b}

(* Everything below was written before this leader's epoch.                   *)
EpochStart(s) == Cardinality({i \in DOMAIN s.log : s.log[i].epoch < s.view.leaderEpoch})

(* What b makes of the metadata. Who does not lead reads of them only who does. *)
ViewFor(b, p, registered) ==
    IF p.leader = b
    THEN [leader |-> b, leaderEpoch |-> p.leaderEpoch, isr |-> p.isr,
          recovering |-> p.recovering, partitionEpoch |-> p.partitionEpoch,
          brokers |-> registered]
    ELSE [NoView EXCEPT !.leader = p.leader, !.leaderEpoch = p.leaderEpoch]

(********************** the leader's ISR (L1, L2, L3, L5) ********************)

IsBehind(s, f) == ~s.progress[f].fetched \/ s.progress[f].end < End(s)

Enough(s) == Cardinality(s.view.isr) >= Effective(MinIsr, Len(Replicas))

(* L1, all from one state.                                                    *)
MayJoin(b, s, f) ==
    LET seen == s.progress[f]
    IN /\ f # b /\ f \notin s.view.isr
       /\ seen.fetched
       /\ seen.end >= s.hw \/ ~Holds("join-below-high-watermark")
       /\ seen.end >= EpochStart(s) \/ ~Holds("join-before-epoch-start")
       /\ \/ s.view.brokers[f] = [epoch |-> seen.epoch, fenced |-> FALSE]
          \/ ~Holds("fenced-joins-isr")

(* L2: the ISR in force, the one that may be by now, and those who would be   *)
(* asked for if no question were open.                                        *)
MaximalIsr(b, s) ==
    IF ~Holds("hw-over-committed-isr") THEN s.view.isr
    ELSE s.view.isr
         \cup (IF s.proposal.kind \in {"sent", "unanswered", "decided"}
               THEN s.proposal.asked.isr ELSE {})
         \cup {f \in Brokers : MayJoin(b, s, f)}

OwnEnd(s) == IF FlushBeforeAck THEN s.flushed ELSE End(s)

(* L2: what the maximal ISR holds; who has not fetched in this epoch keeps it *)
(* where it is. It stands still while the ISR is too small.                   *)
Settled(b, s) ==
    LET held(f) == IF s.progress[f].fetched THEN s.progress[f].end ELSE s.hw
        ends    == {OwnEnd(s)} \cup {held(f) : f \in MaximalIsr(b, s) \ {b}}
        lowest  == CHOOSE e \in ends : \A other \in ends : e <= other
    IN IF ~Enough(s) /\ Holds("hw-under-min-isr") THEN s
       ELSE [s EXCEPT !.hw = Larger(@, lowest)]

(* L3: asks for the ISR as it should be, unless a question is open. Who was   *)
(* elected uncleanly says that it has recovered.                              *)
Proposed(b, s) ==
    LET late  == {f \in s.view.isr \ {b} : s.progress[f].over /\ IsBehind(s, f)}
        isr   == (s.view.isr \ late) \cup {f \in Brokers : MayJoin(b, s, f)} \cup {b}
        epoch(m) == IF m = b THEN s.view.brokers[b].epoch
                    ELSE IF s.progress[m].fetched THEN s.progress[m].epoch ELSE -1
        asked == [leaderEpoch |-> s.view.leaderEpoch,
                  partitionEpoch |-> s.view.partitionEpoch,
                  isr |-> isr, epochs |-> [m \in isr |-> epoch(m)]]
    IN IF s.proposal # NoProposal \/ (isr = s.view.isr /\ ~s.view.recovering) THEN s
       ELSE [s EXCEPT !.proposal = [kind |-> "sent", asked |-> asked]]

(* Another ISR is in force: what was asked under the old one is void, and who *)
(* left has to fetch anew before it may join.                                 *)
IsrSettled(b, s, before) ==
    LET known(f) == IF f \in s.view.isr THEN s.progress[f]
                    ELSE IF f \in before THEN NoProgress
                    ELSE [s.progress[f] EXCEPT !.over = FALSE]
        now == [s EXCEPT !.proposal = NoProposal,
                         !.progress = [f \in Brokers |-> known(f)]]
    IN Settled(b, Proposed(b, now))

Forgotten(s) == IF Holds("keep-follower-state") THEN NobodysProgress ELSE s.progress

(* L5: leads a new epoch. Requests that waited under its last epoch wait on.  *)
Lead(b, s, view) ==
    Settled(b, Proposed(b,
        [s EXCEPT !.view = view, !.hw = Smaller(@, End(s)), !.proposal = NoProposal,
                  !.progress = Forgotten(s)]))

(****************************** the follower (L4) ****************************)

Truncated(s, to) ==
    IF to >= End(s) THEN s
    ELSE [s EXCEPT !.log = SubSeq(@, 1, to), !.hw = Smaller(@, to),
                   !.flushed = Smaller(@, to)]

(* Whoever waited is told NOT_LEADER_OR_FOLLOWER.                             *)
Rest(s, view) ==
    [s EXCEPT !.view = view, !.proposal = NoProposal, !.waiting = {},
              !.progress = Forgotten(s)]

(* It finds out by its first fetch where its log parts from the leader's.     *)
Follow(s, view) ==
    LET now == [Rest(s, view) EXCEPT !.hw = Smaller(@, End(s))]
    IN IF Holds("truncate-to-high-watermark") THEN now ELSE Truncated(now, now.hw)

(* A new leader epoch gives a broker a new role; within one, only a leader    *)
(* looks at what else has changed.                                            *)
Replayed(b, s, view) ==
    LET same == Leads(b, s) /\ view.leader = b /\ view.leaderEpoch = s.view.leaderEpoch
        seen == [s EXCEPT !.view = view]
    IN IF same /\ view.partitionEpoch > s.view.partitionEpoch
           THEN IsrSettled(b, seen, s.view.isr)
       ELSE IF same THEN Settled(b, Proposed(b, seen))
       ELSE IF view.leader = b THEN Lead(b, s, view)
       ELSE IF view.leader = None THEN Rest(s, view)
       ELSE Follow(s, view)

(* The fetch position is the acknowledgement: where acknowledging waits for   *)
(* the disk, it is sent when everything below is there.                       *)
Fetching(b, s) == Follows(b, s) /\ (FlushBeforeAck => s.flushed = End(s))

Position(s) ==
    [leaderEpoch |-> s.view.leaderEpoch, offset |-> End(s),
     lastEpoch |-> IF Holds("truncate-to-high-watermark") THEN LastEpoch(s.log) ELSE -1]

Diverges(log, position) ==
    LET parting == EndOfEpoch(log, position.lastEpoch)
    IN /\ position.lastEpoch # -1 /\ Holds("ignore-divergence")
       /\ parting.epoch < position.lastEpoch \/ parting.end < position.offset

(* Why a fetch of f is not answered at all.                                   *)
Refused(b, s, f, epoch, position) ==
    \/ ~Leads(b, s)
    \/ position.leaderEpoch < s.view.leaderEpoch /\ Holds("skip-leader-epoch")
    \/ position.leaderEpoch > s.view.leaderEpoch
    \/ s.progress[f].fetched /\ epoch < s.progress[f].epoch

(* That f was found silent is forgotten if it has reached the leader's end,   *)
(* or has fetched before (in place of L1's "reached what the end was at its   *)
(* last fetch").                                                              *)
StaysOver(s, f, position) ==
    s.progress[f].over /\ ~s.progress[f].fetched /\ position.offset < End(s)

(* A valid fetch: f holds everything below its position.                      *)
Observed(b, s, f, epoch, position, over) ==
    LET was  == s.progress[f]
        now  == [fetched |-> TRUE, end |-> position.offset, epoch |-> epoch, over |-> over]
        next == [s EXCEPT !.progress[f] = now]
    IN IF [was EXCEPT !.over = over] = now THEN next ELSE Settled(b, Proposed(b, next))

(* What the leader makes of a fetch: its state after, and its answer. A valid *)
(* fetch is answered with the high watermark after it.                        *)
ServedAs(b, s, f, epoch, position, over) ==
    IF Refused(b, s, f, epoch, position)
        THEN [next |-> s, outcome |-> [kind |-> "refused"]]
    ELSE IF Diverges(s.log, position)
        THEN [next |-> s, outcome |-> [kind |-> "diverging",
                                       parting |-> EndOfEpoch(s.log, position.lastEpoch)]]
    ELSE IF position.offset > End(s)
        THEN [next |-> s, outcome |-> [kind |-> "out-of-range", end |-> End(s)]]
    ELSE LET next == Observed(b, s, f, epoch, position, over)
         IN [next |-> next,
             outcome |-> [kind |-> "records", hw |-> next.hw,
                          records |-> SubSeq(next.log, position.offset + 1, End(next))]]

Served(b, s, f, epoch, position) == ServedAs(b, s, f, epoch, position, StaysOver(s, f, position))

(* Divergence first, high watermark after: an answer that says where the logs *)
(* part brings none. If the epoch that the leader names is not in this log,   *)
(* the next answer takes it further back (KIP-279).                           *)
TookIn(s, outcome) ==
    CASE outcome.kind = "records" ->
            LET log == s.log \o outcome.records
            IN [s EXCEPT !.log = log, !.hw = Larger(@, Smaller(outcome.hw, Len(log)))]
      [] outcome.kind = "diverging" ->
            LET own == EndOfEpoch(s.log, outcome.parting.epoch).end
            IN Truncated(s, Smaller(outcome.parting.end, own))
      [] outcome.kind = "out-of-range" -> Truncated(s, outcome.end)
      [] outcome.kind = "refused" -> s

(* An answer with nothing to read and no news stays with the leader.          *)
SaysSomething(outcome, knownHw) ==
    \/ outcome.kind \in {"diverging", "out-of-range"}
    \/ outcome.kind = "records" /\ (outcome.records # <<>> \/ outcome.hw > knownHw)

(************************ the common end of every step ***********************)

(* L2, I5: acks=all is answered once the high watermark is past the record,   *)
(* and with NOT_ENOUGH_REPLICAS_AFTER_APPEND if the ISR is too small by then. *)
Answered(s) == {o \in s.waiting : o < s.hw}

Released(s) == [s EXCEPT !.waiting = @ \ Answered(s)]

Acknowledging(acks, s) ==
    IF Answered(s) = {} \/ (~Enough(s) /\ Holds("append-under-min-isr")) THEN acks
    ELSE [v \in DOMAIN acks |->
            LET offsets == {o \in Answered(s) : s.log[o + 1].value = v}
            IN IF offsets = {} THEN acks[v] ELSE CHOOSE o \in offsets : TRUE]

(* Consumers read at once all that a leader or follower lets them.            *)
Showing(records, s) ==
    IF s.view.leader = None \/ s.hw <= Len(records) THEN records
    ELSE records \o SubSeq(s.log, Len(records) + 1, s.hw)

(* Whoever wants to know something and has no question under way asks.        *)
NoAlter == [kind |-> "none"]

Sending(requests) ==
    [b \in Brokers |->
        IF requests[b] = NoAlter /\ broker'[b].proposal.kind = "sent"
        THEN [kind |-> "asked", sender |-> registration'[b].epoch,
              asked |-> broker'[b].proposal.asked]
        ELSE requests[b]]

NoFetch == [kind |-> "none"]

Asking(exchanges) ==
    IF ~FetchesInFlight THEN exchanges
    ELSE [f \in Brokers |-> [l \in Brokers |->
            IF /\ exchanges[f][l] = NoFetch
               /\ Fetching(f, broker'[f]) /\ broker'[f].view.leader = l
            THEN [kind |-> "asked", epoch |-> registration'[f].epoch,
                  position |-> Position(broker'[f])]
            ELSE exchanges[f][l]]]

(* Broker b steps to s; `requests` and `exchanges` are what is under way then. *)
Step(b, s, requests, exchanges) ==
    /\ broker' = [broker EXCEPT ![b] = Released(s)]
    /\ acknowledged' = Acknowledging(acknowledged, s)
    /\ shown' = Showing(shown, s)
    /\ alters' = Sending(requests)
    /\ fetches' = Asking(exchanges)

LocalStep(b, s) == UNCHANGED <<partition, registration>> /\ Step(b, s, alters, fetches)

OnlyController ==
    /\ partition'.leaderEpoch <= MaxLeaderEpoch
    /\ UNCHANGED <<broker, fetches, alters, acknowledged, shown>>

Spend(what) == left[what] > 0 /\ left' = [left EXCEPT ![what] = @ - 1]

IsUp(b) == broker[b].process = "up"

(********************************** actions **********************************)

(* I5: refused, or appended under the leader's epoch; the value is its own.   *)
Produce(b) ==
    LET s == broker[b]
        record == [epoch |-> s.view.leaderEpoch, value |-> Budget.appends - left.appends]
        next == IF Enough(s) \/ ~Holds("append-under-min-isr")
                THEN Settled(b, [s EXCEPT !.log = Append(@, record), !.waiting = @ \cup {End(s)}])
                ELSE s
    IN /\ Leads(b, s)
       /\ Spend("appends")
       /\ LocalStep(b, next)

(* The broker replays the metadata up to now.                                 *)
Replay(b) ==
    LET s    == broker[b]
        view == ViewFor(b, partition, registration)
    IN /\ IsUp(b)
       /\ IF Leads(b, s) THEN view # s.view ELSE view.leaderEpoch # s.view.leaderEpoch
       /\ LocalStep(b, Replayed(b, s, view))
       /\ UNCHANGED left

(* L4: a fetch and its answer, with nothing in between.                       *)
Fetch(f, l) ==
    LET served == Served(l, broker[l], f, registration[f].epoch, Position(broker[f]))
        news   == SaysSomething(served.outcome, broker[f].hw)
        taken  == IF news THEN TookIn(broker[f], served.outcome) ELSE broker[f]
    IN /\ ~FetchesInFlight
       /\ IsUp(f) /\ IsUp(l)
       /\ Fetching(f, broker[f]) /\ broker[f].view.leader = l
       /\ UNCHANGED <<partition, registration, fetches, left>>
       /\ broker' = [broker EXCEPT ![f] = taken, ![l] = Released(served.next)]
       /\ acknowledged' = Acknowledging(acknowledged, served.next)
       /\ shown' = Showing(Showing(shown, served.next), taken)
       /\ alters' = Sending(alters)

Wanted(f, l, position) ==
    /\ Fetching(f, broker[f]) /\ broker[f].view.leader = l
    /\ Position(broker[f]) = position

(* L4: the leader answers a fetch that has arrived, and holds back the answer *)
(* that says nothing; nobody waits for an answer to an old position.          *)
Serve(f, l) ==
    LET x      == fetches[f][l]
        served == Served(l, broker[l], f, x.epoch, x.position)
        answer == [kind |-> "answered", position |-> x.position, outcome |-> served.outcome]
        after  == IF SaysSomething(served.outcome, broker[f].hw) THEN answer
                  ELSE IF Wanted(f, l, x.position) THEN x ELSE NoFetch
    IN /\ x.kind = "asked" /\ IsUp(l)
       /\ UNCHANGED <<partition, registration, left>>
       /\ Step(l, served.next, alters, [fetches EXCEPT ![f][l] = after])

(* L4: used only if it answers what the follower asks now.                    *)
Take(f, l) ==
    LET x       == fetches[f][l]
        current == Wanted(f, l, x.position)
        follows == Follows(f, broker[f])
        next    == IF follows /\ (current \/ ~Holds("stale-fetch-response"))
                   THEN TookIn(broker[f], x.outcome) ELSE broker[f]
    IN /\ x.kind = "answered"
       /\ UNCHANGED <<partition, registration, left>>
       /\ Step(f, next, alters, [fetches EXCEPT ![f][l] = NoFetch])

(* An answer, or a request that nobody waits for any more, is lost. (One that *)
(* is waited for would be sent again at once.)                                *)
LoseFetch(f, l) ==
    LET x == fetches[f][l]
    IN /\ x.kind = "answered" \/ (x.kind = "asked" /\ ~Wanted(f, l, x.position))
       /\ UNCHANGED <<partition, registration, left>>
       /\ Step(f, broker[f], alters, [fetches EXCEPT ![f][l] = NoFetch])

(* P3, P4: the controller decides on an AlterPartition that has arrived. A    *)
(* sender that is down hears nothing.                                         *)
Decide(b) ==
    LET x     == alters[b]
        error == IF x.sender # registration[b].epoch THEN "STALE_BROKER_EPOCH"
                 ELSE AlterError(partition, b, x.asked, Active, RegisteredEpochs)
        after == IF error = "" THEN Change(partition, Altered(x.asked.isr, FALSE), Active)
                 ELSE Refusal(partition, error)
        answer == [kind |-> "answered", leaderEpoch |-> x.asked.leaderEpoch,
                   partitionEpoch |-> x.asked.partitionEpoch, error |-> error]
    IN /\ x.kind = "asked"
       /\ partition' = after
       /\ alters' = [alters EXCEPT ![b] = IF IsUp(b) THEN answer ELSE NoAlter]
       /\ UNCHANGED <<registration, broker, fetches, acknowledged, shown, left>>

(* L3: what becomes of an open proposal by an answer.                         *)
AfterAnswer(error) ==
    IF error = "INELIGIBLE_REPLICA" THEN "rolled-back"
    ELSE IF error \in {"", "FENCED_LEADER_EPOCH", "INVALID_UPDATE_VERSION", "INVALID_REQUEST"}
    THEN "decided" ELSE "unanswered"

TakeAheadOfTheRecord(b, s, granted) ==
    IsrSettled(b, [s EXCEPT !.view.isr = granted.isr,
                            !.view.partitionEpoch = @ + 1,
                            !.view.recovering = FALSE], s.view.isr)

(* L3: the answer counts if it is to this leader epoch and partition epoch.   *)
(* None puts an ISR in force: only the record does, in its place in the log.  *)
Learned(b, s, x) ==
    LET current == /\ Leads(b, s) /\ s.proposal.kind = "sent"
                   /\ \/ /\ x.leaderEpoch = s.view.leaderEpoch
                         /\ x.partitionEpoch = s.view.partitionEpoch
                      \/ ~Holds("stale-alter-partition")
        becomes(kind) == [s EXCEPT !.proposal =
            IF kind = "rolled-back" THEN [kind |-> kind]
            ELSE [kind |-> kind, asked |-> s.proposal.asked]]
    IN IF ~current THEN s
       ELSE IF x.error = "" /\ ~Holds("grant-before-record")
       THEN TakeAheadOfTheRecord(b, s, s.proposal.asked)
       ELSE becomes(AfterAnswer(x.error))

Learn(b) ==
    /\ alters[b].kind = "answered"
    /\ UNCHANGED <<partition, registration, left>>
    /\ Step(b, Learned(b, broker[b], alters[b]), [alters EXCEPT ![b] = NoAlter], fetches)

(* The answer is lost, or a request that the leader does not stand by.        *)
LoseAlter(b) ==
    LET x == alters[b]
    IN /\ \/ x.kind = "answered"
          \/ /\ x.kind = "asked"
             /\ broker[b].proposal # [kind |-> "sent", asked |-> x.asked]
       /\ UNCHANGED <<partition, registration, left>>
       /\ Step(b, broker[b], [alters EXCEPT ![b] = NoAlter], fetches)

(* L3: a leader that was refused asks anew after a while.                     *)
AskedAnew(b, s) == Settled(b, Proposed(b, [s EXCEPT !.proposal = NoProposal]))

RetryAlter(b) ==
    /\ broker[b].proposal.kind = "rolled-back"
    /\ LocalStep(b, AskedAnew(b, broker[b]))
    /\ UNCHANGED left

(* replica.lag.time.max.ms went by while f was behind: it is to leave the ISR. *)
FoundSilent(b, s, f) == Proposed(b, [s EXCEPT !.progress[f].over = TRUE])

Silent(b, f) ==
    LET s == broker[b]
    IN /\ Leads(b, s) /\ f # b
       /\ f \in s.view.isr /\ IsBehind(s, f) /\ ~s.progress[f].over
       /\ Spend("silences")
       /\ LocalStep(b, FoundSilent(b, s, f))

Flush(b) ==
    LET s == [broker[b] EXCEPT !.flushed = End(broker[b])]
    IN /\ FlushBeforeAck /\ IsUp(b) /\ broker[b] # s
       /\ LocalStep(b, IF Leads(b, s) THEN Settled(b, s) ELSE s)
       /\ UNCHANGED left

(* B4: the partition's change, then the registration's.                       *)
Fence(b) ==
    /\ ~registration[b].fenced
    /\ Spend("fences")
    /\ partition' = Change(partition, Left(b), Active)
    /\ registration' = [registration EXCEPT ![b].fenced = TRUE]
    /\ OnlyController

(* B4: the registration's change, then an election if nobody leads.           *)
Unfence(b) ==
    /\ registration[b].fenced /\ IsUp(b)
    /\ registration' = [registration EXCEPT ![b].fenced = FALSE]
    /\ partition' = IF partition.leader # None THEN partition
                    ELSE Change(partition, Elect("online"), Active \cup {b})
    /\ UNCHANGED left
    /\ OnlyController

(* The process ends, and its connections with it. An AlterPartition that has  *)
(* left may still arrive.                                                     *)
GoDown(b, how, kept, flushed) ==
    LET hw   == IF how = "crashed" THEN 0 ELSE broker[b].hw
        down == [Fresh(SubSeq(broker[b].log, 1, kept), flushed, hw)
                    EXCEPT !.process = how]
        cut  == [f \in Brokers |-> [l \in Brokers |->
                    IF b \in {f, l} THEN NoFetch ELSE fetches[f][l]]]
    IN /\ IsUp(b)
       /\ UNCHANGED <<partition, registration>>
       /\ Step(b, down, [alters EXCEPT ![b] = IF @.kind = "answered" THEN NoAlter ELSE @], cut)

(* In order, or killed while the machine stays up: its log is whole, flushed  *)
(* or not, and its registration will say so.                                  *)
Stop(b) == Spend("cleanStops") /\ GoDown(b, "stopped", End(broker[b]), broker[b].flushed)

(* Power fails: any part of what was not flushed may be on disk all the same. *)
(* L6: the checkpointed high watermark says nothing about this log any more.  *)
Crash(b) ==
    /\ Spend("lossyStops")
    /\ \E kept \in broker[b].flushed..End(broker[b]) : GoDown(b, "crashed", kept, kept)

(* B1, L6: a new incarnation registers, fenced, and acts on no metadata that  *)
(* are older than that.                                                       *)
Restart(b) ==
    LET lost == IF broker[b].process = "crashed" THEN LostTail(b) ELSE Left(b)
        up   == [broker[b] EXCEPT !.process = "up"]
        view == IF Holds("view-without-registration") THEN ViewFor(b, partition', registration')
                ELSE ViewFor(b, partition, registration)
    IN /\ ~IsUp(b)
       /\ partition' = Change(partition, lost, Active)
       /\ partition'.leaderEpoch <= MaxLeaderEpoch
       /\ registration' = [registration EXCEPT
                            ![b] = [epoch |-> @.epoch + 1, fenced |-> TRUE]]
       /\ Step(b, Replayed(b, up, view), [alters EXCEPT ![b] = NoAlter], fetches)
       /\ UNCHANGED left

(******************************** behaviours *********************************)

Init ==
    /\ partition = NewPartition(Replicas, Brokers)
    /\ registration = [b \in Brokers |-> [epoch |-> 0, fenced |-> FALSE]]
    /\ broker = [b \in Brokers |->
                    [Fresh(<<>>, 0, 0) EXCEPT !.view = ViewFor(b, partition, registration)]]
    /\ alters = [b \in Brokers |-> NoAlter]
    /\ fetches = [f \in Brokers |-> [l \in Brokers |->
                    IF FetchesInFlight /\ f # l /\ l = Replicas[1]
                    THEN [kind |-> "asked", epoch |-> 0,
                          position |-> [leaderEpoch |-> 0, offset |-> 0, lastEpoch |-> -1]]
                    ELSE NoFetch]]
    /\ acknowledged = [v \in 0..(Budget.appends - 1) |-> -1]
    /\ shown = <<>>
    /\ left = Budget

Next ==
    \E b \in Brokers :
        \/ Produce(b) \/ Replay(b) \/ Flush(b)
        \/ Decide(b) \/ Learn(b) \/ LoseAlter(b) \/ RetryAlter(b)
        \/ Fence(b) \/ Unfence(b) \/ Stop(b) \/ Crash(b) \/ Restart(b)
        \/ \E other \in Brokers :
            \/ Silent(b, other) \/ Fetch(b, other)
            \/ Serve(b, other) \/ Take(b, other) \/ LoseFetch(b, other)

Spec == Init /\ [][Next]_vars

(* Liveness rests on these: the network delivers in the end what is sent      *)
(* again and again, the controller looks at what arrives, brokers replay,     *)
(* flush, fetch and restart, and nobody stays fenced who is up. Written out,  *)
(* and not as WF: TLC evaluates ENABLED of such actions without remembering   *)
(* anything, which takes minutes a state.                                     *)
MayReplay(b) ==
    LET s    == broker[b]
        view == ViewFor(b, partition, registration)
    IN IsUp(b) /\ IF Leads(b, s) THEN view # s.view ELSE view.leaderEpoch # s.view.leaderEpoch

MayUnfence(b) ==
    /\ registration[b].fenced /\ IsUp(b)
    /\ partition.leader = None =>
        Change(partition, Elect("online"), Active \cup {b}).leaderEpoch <= MaxLeaderEpoch

MayRestart(b) ==
    /\ ~IsUp(b)
    /\ LET lost == IF broker[b].process = "crashed" THEN LostTail(b) ELSE Left(b)
       IN Change(partition, lost, Active).leaderEpoch <= MaxLeaderEpoch

(* A fetch that changes something.                                            *)
MayFetch(f) ==
    /\ ~FetchesInFlight /\ IsUp(f) /\ Fetching(f, broker[f])
    /\ LET l      == broker[f].view.leader
           served == Served(l, broker[l], f, registration[f].epoch, Position(broker[f]))
       IN /\ IsUp(l)
          /\ \/ served.next # broker[l]
             \/ /\ SaysSomething(served.outcome, broker[f].hw)
                /\ TookIn(broker[f], served.outcome) # broker[f]

Fairness ==
    \A b \in Brokers :
        /\ []<>~MayReplay(b) \/ []<><<Replay(b)>>_vars
        /\ []<>~MayUnfence(b) \/ []<><<Unfence(b)>>_vars
        /\ []<>~MayRestart(b) \/ []<><<Restart(b)>>_vars
        /\ []<>~MayFetch(b) \/ []<><<\E l \in Brokers : Fetch(b, l)>>_vars
        /\ []<>(alters[b].kind # "asked") \/ []<><<Decide(b)>>_vars
        /\ <>[](alters[b].kind # "answered") \/ []<><<Learn(b)>>_vars
        /\ []<>(broker[b].proposal.kind # "rolled-back") \/ []<><<RetryAlter(b)>>_vars
        /\ []<>~(FlushBeforeAck /\ IsUp(b) /\ broker[b].flushed < End(broker[b]))
            \/ []<><<Flush(b)>>_vars

FairSpec == Spec /\ Fairness

(***************************** what must hold ********************************)

TypeOk ==
    /\ partition.leader \in Brokers \cup {None}
    /\ \A b \in Brokers :
        /\ broker[b].process \in {"up", "stopped", "crashed"}
        /\ broker[b].flushed <= End(broker[b])
        /\ ~IsUp(b) => broker[b].view = NoView
        /\ Leads(b, broker[b]) => broker[b].hw <= End(broker[b])

(* Whoever may be elected and would come with the log that it has now. Who is *)
(* down loses its place, by its registration, before it can lead again.       *)
Candidates == {b \in ElectableSet(partition) : IsUp(b)}

HoldsRecord(b, offset, record) ==
    End(broker[b]) > offset /\ broker[b].log[offset + 1] = record

(* An acknowledged record is on every electable replica.                      *)
AcknowledgedIsElectable ==
    \A b \in Candidates, v \in DOMAIN acknowledged :
        acknowledged[v] # -1 =>
            /\ End(broker[b]) > acknowledged[v]
            /\ broker[b].log[acknowledged[v] + 1].value = v

(* What a consumer read is on every electable replica.                        *)
ShownIsElectable ==
    \A b \in Candidates, i \in DOMAIN shown : HoldsRecord(b, i - 1, shown[i])

Visible(b) == IF broker[b].view.leader = None THEN 0 ELSE broker[b].hw

(* What one consumer read every consumer reads there (F2).                    *)
ConsumersAgree ==
    \A b \in Brokers, i \in DOMAIN shown :
        i <= Visible(b) => HoldsRecord(b, i - 1, shown[i])

LogsAgree ==
    \A a, b \in Brokers :
        \A i \in 1..Smaller(Visible(a), Visible(b)) : broker[a].log[i] = broker[b].log[i]

(* B5, KIP-841.                                                               *)
IsrIsActive == partition.isr \subseteq Active

PartitionIsSound == SoundPartition(partition)

(* A leader's high watermark does not fall in its epoch.                      *)
HighWatermarkStands ==
    [][\A b \in Brokers :
        /\ Leads(b, broker[b]) /\ Leads(b, broker'[b])
        /\ broker[b].view.leaderEpoch = broker'[b].view.leaderEpoch
        => broker'[b].hw >= broker[b].hw]_broker

(* P2: epochs do not fall, and every change has its own.                      *)
EpochsGrow ==
    [][/\ partition'.partitionEpoch = partition.partitionEpoch + 1
       /\ partition'.leaderEpoch >= partition.leaderEpoch
       /\ partition'.leader # partition.leader =>
            partition'.leaderEpoch > partition.leaderEpoch]_partition

(******************************** what must come *****************************)

(* L3: every proposal is answered, or given up for a newer state.             *)
AlterPartitionEnds ==
    \A b \in Brokers : broker[b].proposal.kind = "sent" ~> broker[b].proposal.kind # "sent"

(* An acknowledged record comes to be on every replica.                       *)
AcknowledgedIsReplicated ==
    \A v \in 0..(Budget.appends - 1) :
        (acknowledged[v] # -1) ~>
            \A b \in Brokers : \E i \in DOMAIN broker[b].log : broker[b].log[i].value = v

(* Whoever left comes back: the ISR is whole in the end.                      *)
IsrHeals == <>[](partition.isr = Brokers)
==============================================================================
