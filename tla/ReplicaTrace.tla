---------------------------- MODULE ReplicaTrace ----------------------------
(* What the replicas of a real partition did, held against Replication.tla.   *)
(* ReplicaTraceLog.tla is generated: a line for each step of each replica, in *)
(* the order of time, with what happened, what was said, and how the replica  *)
(* looked afterwards; and one for each image that controllers committed. A    *)
(* line fits if the specification makes of the replica and of the event       *)
(* exactly that, and if what it heard somebody has said. A line that does not *)
(* fit has no successor.                                                      *)
(*                                                                            *)
(* What the controller decides is judged by its own trace (TraceController);  *)
(* here a broker may see what was committed, and be granted what was.         *)
(* Records have no values: an offset and its epoch name one.                  *)
(*                                                                            *)
(* There is one state for each line that fits, and one before the first: how  *)
(* many there are says how far the trace is a behaviour. (An invariant that   *)
(* the end violates would say it too, and TLC would write out whole logs for  *)
(* every line on the way: gigabytes.)                                         *)
EXTENDS Replication, ReplicaTraceLog

VARIABLES
    line,
    asked   \* by follower: the last few fetches that it asked for, and whom

Line == TraceLines[line]

OfReplicas == <<broker, shown, asked>>

TraceInit ==
    /\ partition = TraceImages[1].partition
    /\ registration = TraceImages[1].registration
    /\ broker = [b \in Brokers |-> [Fresh(<<>>, 0, 0) EXCEPT !.process = "stopped"]]
    /\ fetches = <<>> /\ alters = <<>> /\ acknowledged = <<>> /\ left = <<>>
    /\ shown = <<>>
    /\ line = 1
    /\ asked = [b \in Brokers |-> <<>>]

(* As EndOfEpoch and EpochStart: from a log's end, since its epochs ascend.   *)
RECURSIVE UpToEpoch(_, _, _)
UpToEpoch(log, epoch, i) ==
    IF i = 0 \/ log[i].epoch <= epoch THEN i ELSE UpToEpoch(log, epoch, i - 1)

SoonEndOfEpoch(log, epoch) ==
    LET last == UpToEpoch(log, epoch, Len(log))
    IN [epoch |-> IF last = 0 THEN epoch ELSE log[last].epoch, end |-> last]

SoonEpochStart(s) == UpToEpoch(s.log, s.view.leaderEpoch - 1, Len(s.log))

(***************************** what an event leads to ************************)

(* The disk may have got further in the meantime.                             *)
OnDisk(s, l) == [s EXCEPT !.flushed = Larger(@, Smaller(l.after.flushed, End(s)))]

(* L6: the log has lost at most what was not flushed; the checkpoint may be   *)
(* older than what the replica knew.  Of a process that was killed in the     *)
(* middle of a step the trace lacks that step, of which nobody has heard, but *)
(* the log may have what it appended: under the epoch that was known, or, from*)
(* a leader, an earlier one.                                                  *)
Begun(s, l) ==
    LET more == l.after.end - End(s)
        last == [epoch |-> l.after.lastEpoch, value |-> 0]
        log  == IF more > 0 THEN s.log \o [i \in 1..more |-> last] ELSE SubSeq(s.log, 1, l.after.end)
        fits == more > 0 => l.after.lastEpoch \in LastEpoch(s.log)..s.view.leaderEpoch
    IN  IF l.after.end >= s.flushed /\ l.after.hw <= s.hw /\ fits
        THEN {Fresh(log, l.after.flushed, l.after.hw)} ELSE {}

Viewed(b, s, l) ==
    IF l.image = 0 THEN {}
    ELSE LET view == ViewFor(b, TraceImages[l.image].partition, TraceImages[l.image].registration)
         IN {IF Leads(b, s) \/ view.leaderEpoch # s.view.leaderEpoch \/ view.leader # s.view.leader
             THEN Replayed(b, s, view) ELSE s}

(* I5. An append that adds nothing is a refusal, or a duplicate, which waits  *)
(* for the record that is there.                                              *)
Appended(b, s, l) ==
    LET count    == l.after.end - End(s)
        records  == [i \in 1..count |-> [epoch |-> s.view.leaderEpoch, value |-> 0]]
        appended == [s EXCEPT !.log = @ \o records,
                              !.waiting = IF l.all THEN @ \cup {l.after.end - 1} ELSE @]
        waits    == {o \in l.after.waiting \cup l.acked : o < End(s)}
    IN IF count > 0
       THEN IF Leads(b, s) /\ (l.all => Enough(s)) THEN {Settled(b, appended)} ELSE {}
       ELSE IF l.error = "NOT_LEADER_OR_FOLLOWER" THEN IF Leads(b, s) THEN {} ELSE {s}
       ELSE IF l.error = "NOT_ENOUGH_REPLICAS" THEN IF Enough(s) THEN {} ELSE {s}
       ELSE IF l.all /\ ~Enough(s) THEN {}
       ELSE {[s EXCEPT !.waiting = @ \cup waits]}

(* A client's patience is none of the specification's.                        *)
Expired(s, l) == {[s EXCEPT !.waiting = @ \cap l.after.waiting]}

AnswerFits(l, outcome) ==
    /\ l.answer.kind = outcome.kind
    /\ outcome.kind = "records" => l.answer.hw = outcome.hw
    /\ outcome.kind = "diverging" => l.answer.parting = outcome.parting
    /\ outcome.kind = "out-of-range" => l.answer.end = outcome.end

(* L4. L1's "reached what the end was at its last fetch" is the machine's.    *)
Fetched(b, s, l) ==
    LET served == {ServedAs(b, s, l.from, l.epoch, l.position, over) :
                        over \in {s.progress[l.from].over, StaysOver(s, l.from, l.position)}}
    IN {r.next : r \in {r \in served : AnswerFits(l, r.outcome)}}

(* L4: used if it answers what is asked now; it may be lost all the same.     *)
Answer(b, s, l) ==
    LET current == /\ Fetching(b, s) /\ s.view.leader = l.from
                   /\ Position(s) = l.position
    IN IF current THEN {TookIn(s, l.answer), s} ELSE {s}

Altering(b, s, l) == {Learned(b, s, l)}

Over(b, s, l) ==
    LET may == Leads(b, s) /\ l.from \in s.view.isr /\ IsBehind(s, l.from)
    IN IF may THEN {FoundSilent(b, s, l.from), s} ELSE {s}

Retried(b, s) ==
    {IF s.proposal.kind = "rolled-back" THEN AskedAnew(b, s)
     ELSE IF s.proposal.kind = "unanswered" THEN [s EXCEPT !.proposal.kind = "sent"] ELSE s}

Results(b, s, l) ==
    CASE l.event = "Began" -> Begun(s, l)
      [] l.event = "View" -> Viewed(b, s, l)
      [] l.event = "Append" -> Appended(b, s, l)
      [] l.event = "RequestExpired" -> Expired(s, l)
      [] l.event = "Fetch" -> Fetched(b, s, l)
      [] l.event = "Fetched" -> Answer(b, s, l)
      [] l.event = "Altered" -> Altering(b, s, l)
      [] l.event = "Silent" -> Over(b, s, l)
      [] l.event = "AlterRetry" -> Retried(b, s)
      [] l.event = "Flushed" -> {IF Leads(b, s) THEN Settled(b, s) ELSE s}
      [] l.event \in {"FetchRetry", "FetchFailed", "ProducersExpired"} -> {s}

(************************ whether that is what the line says *****************)

Looks(s, a) ==
    /\ End(s) = a.end /\ LastEpoch(s.log) = a.lastEpoch /\ s.hw = a.hw
    /\ FlushBeforeAck => s.flushed = a.flushed
    /\ s.view.leader = a.leader /\ s.view.leaderEpoch = a.leaderEpoch
    /\ s.view.isr = a.isr /\ s.view.partitionEpoch = a.partitionEpoch
    /\ s.progress = a.progress /\ s.proposal = a.proposal /\ s.waiting = a.waiting

(* L2, I5: who waited is told so exactly when it is so.                       *)
AcksFit(s, l) == l.acked = IF Enough(s) THEN Answered(s) ELSE {}

(* L4: a follower asks from where its log ends, once that may be known.       *)
AsksFit(b, s, l) ==
    \A i \in DOMAIN l.asks :
        /\ Fetching(b, s) /\ l.asks[i].leader = s.view.leader
        /\ l.asks[i].position = Position(s)

(* What was heard somebody has said.                                          *)
WasSaid(b, l) ==
    CASE l.event = "Fetch" ->
            \E i \in DOMAIN asked[l.from] :
                asked[l.from][i] = [leader |-> b, position |-> l.position]
      [] l.event = "Fetched" ->
            LET lead == broker[l.from]
                at   == l.position
            IN lead.view.leader = l.from /\ lead.view.leaderEpoch = at.leaderEpoch =>
                /\ l.answer.kind = "records" =>
                    /\ l.answer.hw <= lead.hw
                    /\ LET upTo == at.offset + Len(l.answer.records)
                       IN upTo <= End(lead)
                          /\ SubSeq(lead.log, at.offset + 1, upTo) = l.answer.records
                /\ l.answer.kind = "diverging" =>
                    l.answer.parting = EndOfEpoch(lead.log, at.lastEpoch)
      [] l.event = "Altered" ->
            LET s == broker[b]
            IN (l.error = "" /\ s.proposal.kind = "sent" /\ l.partitionEpoch = s.view.partitionEpoch) =>
                \E i \in DOMAIN TraceImages :
                    /\ TraceImages[i].partition.partitionEpoch = l.partitionEpoch + 1
                    /\ TraceImages[i].partition.isr = s.proposal.asked.isr
      [] OTHER -> TRUE

Last(asks) == IF Len(asks) <= 4 THEN asks ELSE SubSeq(asks, Len(asks) - 3, Len(asks))

TraceStep ==
    LET l == Line
        b == l.node
        s == IF l.event = "Began" THEN broker[b] ELSE OnDisk(broker[b], l)
    IN /\ WasSaid(b, l)
       /\ \E next \in Results(b, s, l) :
            /\ Looks(Released(next), l.after)
            /\ l.event # "Began" => AcksFit(next, l) /\ AsksFit(b, next, l)
            /\ broker' = [broker EXCEPT ![b] = Released(next)]
            /\ shown' = Showing(shown, next)
       /\ asked' = IF l.event = "Began" THEN [asked EXCEPT ![b] = <<>>]
                   ELSE [asked EXCEPT ![b] = Last(@ \o l.asks)]
       /\ UNCHANGED <<partition, registration>>

Committed ==
    /\ partition' = TraceImages[Line.image].partition
    /\ registration' = TraceImages[Line.image].registration
    /\ UNCHANGED OfReplicas

TraceNext ==
    /\ line <= Len(TraceLines)
    /\ IF Line.event = "Committed" THEN Committed ELSE TraceStep
    /\ line' = line + 1
    /\ UNCHANGED <<fetches, alters, acknowledged, left>>

(* There is one successor for each line, or none.                             *)
Place == line

TraceSpec == TraceInit /\ [][TraceNext]_<<line, vars, asked>>

(***************************** what must hold ********************************)

(* Those of Replication, over whole prefixes at once.                         *)
ShownStands ==
    \A b \in Candidates :
        Len(shown) <= End(broker[b]) /\ SubSeq(broker[b].log, 1, Len(shown)) = shown

ShownIsShownByAll ==
    \A b \in Brokers :
        LET upTo == Smaller(Visible(b), Len(shown))
        IN upTo <= End(broker[b]) /\ SubSeq(broker[b].log, 1, upTo) = SubSeq(shown, 1, upTo)
=============================================================================
