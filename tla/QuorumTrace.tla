---------------------------- MODULE QuorumTrace ----------------------------
(***************************************************************************)
(* What real voters did, held against QuorumNode.tla.  QuorumTraceLog.tla  *)
(* is generated: a line for each step of each node's machine, in the order *)
(* of time, with what happened, what was said, and how the machine looked  *)
(* afterwards.  A line fits if the specification makes of the node's state *)
(* and of the event exactly that, and if what a voter received some voter  *)
(* has sent.  A line that does not fit has no successor.                   *)
(*                                                                         *)
(* NotAccepted is meant to be violated: then the last line was reached.    *)
(***************************************************************************)
EXTENDS QuorumPromises, QuorumTraceLog

VARIABLES line, sent

vars == <<node, led, committed, line, sent>>

Keys == {<<id, 0>> : id \in TraceVoters}

Init ==
    /\ node = [id \in Nodes |-> NewNode(id, 0, Keys)]
    /\ led = {} /\ committed = <<>>
    /\ line = 1 /\ sent = {}

-----------------------------------------------------------------------------
(* Records are known by their epochs; the first one of an epoch is its     *)
(* LeaderChange.                                                           *)

Records(log, epochs) ==
    [k \in 1..Len(epochs) |->
        LET before == IF k = 1 THEN LastEpoch(log) ELSE epochs[k - 1]
        IN  IF epochs[k] = before THEN Data(epochs[k], 1) ELSE LeaderChange(epochs[k])]

Heard(n, m) ==
    IF m.kind = "FetchResponse" THEN [m EXCEPT !.records = Records(n.log, m.records)] ELSE m

\* A message as a line has it.
Told(m) ==
    IF m.kind # "FetchResponse" THEN m
    ELSE [m EXCEPT !.records = [k \in 1..Len(m.records) |-> m.records[k].epoch],
                   !.hw = IF m.outcome = "Records" THEN @ ELSE 0]

-----------------------------------------------------------------------------
(* What a line's event leads to.                                           *)

\* The disk may have got further in the meantime.
OnDisk(n, l) == [n EXCEPT !.flushed = Max(@, Min(l.after.flushed, Len(n.log)))]

\* Q2: what was stored last, and a log that has lost at most what was not flushed.
Begun(n, l) ==
    Restarted(n, l.message, SubSeq(n.log, 1, l.after.end), l.after.start)

TimeRanOut(n, l) ==
    CASE l.timer = "Election" /\ n.role = "Follower" ->
            IF l.after.role = "Follower" THEN Quiet(n) ELSE TimedOut(n)
      [] l.timer = "Election" /\ n.role \notin {"Follower", "Leader"} -> TimedOut(n)
      [] l.timer = "Fetch" /\ n.role = "Follower" -> TimedOut(n)
      [] l.timer = "CheckQuorum" /\ n.role = "Leader" -> Resign(n)
      [] l.timer = "Announce" /\ n.role = "Leader" -> Says(n, Announcements(n))
      [] OTHER -> Quiet(n)

\* Of a leader's answer the line says how many records fitted.
Received(n, l) ==
    LET sizes == {Len(m.records) : m \in {o \in l.out : o.kind = "FetchResponse"}}
        size == IF sizes = {} THEN 0 ELSE CHOOSE s \in sizes : TRUE
    IN  IF l.message.kind = "Fetch" THEN OnFetchSized(n, l.message, size) ELSE On(n, Heard(n, l.message))

RECURSIVE AppendData(_, _)
AppendData(n, count) ==
    IF count = 0 THEN n ELSE AppendData([n EXCEPT !.log = Append(@, Data(n.epoch, 1))], count - 1)

Proposed(n, l) ==
    LET count == l.after.end - Len(n.log)
    IN  IF count > 0 /\ Serves(n) THEN Quiet(AdvanceHighWatermark(AppendData(n, count))) ELSE Quiet(n)

Result(n, l) ==
    CASE l.event = "Began" -> Begun(n, l)
      [] l.event = "Timeout" -> TimeRanOut(OnDisk(n, l), l)
      [] l.event \in {"Received", "HoldExpired"} -> Received(OnDisk(n, l), l)
      [] l.event = "Flushed" -> Quiet(AdvanceHighWatermark(OnDisk(n, l)))
      [] l.event = "Connected" -> Says(OnDisk(n, l), IF n.role = "Leader" THEN Announcements(n) ELSE {})
      [] l.event = "PeerGone" -> Quiet(IF n.leader = l.peer THEN LoseLeader(OnDisk(n, l)) ELSE OnDisk(n, l))
      [] l.event = "Propose" -> Proposed(OnDisk(n, l), l)
      [] l.event = "Resign" -> IF n.role = "Leader" THEN Resign(OnDisk(n, l)) ELSE Quiet(OnDisk(n, l))
      [] l.event = "SnapshotWritten" -> Quiet(Snapshot(OnDisk(n, l), l.after.start))
      [] OTHER -> Quiet(OnDisk(n, l))

-----------------------------------------------------------------------------
(* Whether that is what the line says.                                     *)

Looks(n, l) ==
    LET a == l.after IN
    /\ n.epoch = a.epoch /\ n.vote = a.vote /\ n.role = a.role /\ n.leader = a.leader
    /\ n.fetched = a.fetched /\ n.granted = a.granted /\ n.refused = a.refused
    /\ n.hw = a.hw /\ n.start = a.start
    /\ Len(n.log) = a.end /\ LastEpoch(n.log) = a.lastEpoch /\ n.flushed = a.flushed
    /\ \A end \in a.ends : n.ends[end[1]] = end[2]

\* A follower fetches at once where it may.
FetchesFit(n, l) ==
    \A m \in l.out : m.kind = "Fetch" =>
        MayFetch(n) /\ m.to = n.leader /\ m = FetchRequest(n, m.to)

\* A leader holds a fetch that has no news for the fetcher, and repeats itself only if it must.
AnswersFit(r, l) ==
    LET got == {m \in l.out : m.kind # "Fetch"}
        wanted == {Told(m) : m \in r.out}
    IN  \/ got = wanted
        \/ l.event = "Connected" /\ got = {}
        \/ /\ l.event = "Received" /\ l.message.kind = "Fetch" /\ got = {}
           /\ \A m \in wanted : m.outcome = "Records" /\ m.records = <<>>

WasSent(l) ==
    l.event \in {"Received", "HoldExpired"} =>
        l.message.from \notin TraceVoters \/ l.message \in sent

WasOnDisk(n, l) ==
    l.event = "Began" => l.message = Stored(n) /\ l.after.end \in n.flushed..Len(n.log)

Next ==
    /\ line <= Len(TraceLines)
    /\ LET l == TraceLines[line]
           n == node[l.node]
           r == Result(n, l)
       IN  /\ WasSent(l)
           /\ WasOnDisk(n, l)
           /\ Looks(r.n, l)
           /\ FetchesFit(r.n, l)
           /\ AnswersFit(r, l)
           /\ node' = [node EXCEPT ![l.node] = r.n]
           /\ sent' = sent \cup {m \in l.out : m.to \in TraceVoters}
           /\ Remember({r.n})
    /\ line' = line + 1

Spec == Init /\ [][Next]_vars

NotAccepted == line <= Len(TraceLines)
=============================================================================
