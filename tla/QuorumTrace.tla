---------------------------- MODULE QuorumTrace ----------------------------
(***************************************************************************)
(* What real voters did, held against QuorumNode.tla.  QuorumTraceLog.tla  *)
(* is generated: a line for each step of each node's machine, in the order *)
(* of time, with what happened, what was said, and how the machine looked  *)
(* afterwards.  A line fits if the specification makes of the node's state *)
(* and of the event exactly that, and if what a voter received some voter  *)
(* has sent.  A line that does not fit has no successor: the depth of the  *)
(* search says how many do.                                                *)
(*                                                                         *)
(* Voters are all who vote at some time, observers before and afterwards.  *)
(***************************************************************************)
EXTENDS QuorumPromises, QuorumTraceLog

VARIABLES
    line,
    sent,    \* what voters said to voters, as lines have it
    states,  \* answers with snapshots, with what these hold
    asking,  \* per id: whether this follower waits for the answer to a fetch
    change   \* per id: <<>>, or <<the voter change that this leader is at>> (Q12)

vars == <<node, led, committed, line, sent, states, asking, change>>

\* No process has begun: it has another disk.
NoDisk == -1

Init ==
    /\ node = [id \in Nodes |-> NewNode(id, NoDisk, {})]
    /\ led = {} /\ committed = <<>>
    /\ line = 1 /\ sent = {} /\ states = {}
    /\ asking = [id \in Nodes |-> FALSE]
    /\ change = [id \in Nodes |-> <<>>]

-----------------------------------------------------------------------------
(* Of records a line has the epochs, and which of them are sets of voters; *)
(* the first one of an epoch is its LeaderChange.  Of a snapshot it has    *)
(* the name: what is in it is what the sender had below its end.           *)

Records(log, told) ==
    LET epochs == told[1]
        Epoch(k) == IF k = 0 THEN LastEpoch(log) ELSE epochs[k]
    IN  [k \in 1..Len(epochs) |->
            CASE epochs[k] # Epoch(k - 1) -> LeaderChange(epochs[k])
              [] epochs[k] = Epoch(k - 1) /\ \E set \in told[2] : set[1] = k ->
                    VotersRecord(epochs[k], (CHOOSE set \in told[2] : set[1] = k)[2])
              [] OTHER -> Data(epochs[k], 1)]

Heard(n, m) ==
    IF m.kind = "FetchResponse" THEN [m EXCEPT !.records = Records(n.log, m.records)] ELSE m

\* A message as a line has it.
Told(m) ==
    CASE m.kind = "FetchResponse" ->
            [m EXCEPT !.records = <<[k \in 1..Len(m.records) |-> m.records[k].epoch],
                                    {<<k, m.records[k].voters>> :
                                        k \in {r \in 1..Len(m.records) : m.records[r].voters # {}}}>>,
                      !.hw = IF m.outcome = "Records" THEN @ ELSE 0]
      [] m.kind = "FetchSnapshotResponse" -> [m EXCEPT !.state = <<>>]
      [] OTHER -> m

-----------------------------------------------------------------------------
(* A follower has one request under way.  If that is lost or refused it    *)
(* asks again after a while, and until then takes no answer: to the        *)
(* specification the answer is lost.                                       *)

\* The answer is to what n would ask now.
IsCurrent(n, m) ==
    /\ m.kind = "FetchResponse" /\ m.epoch = n.epoch
    /\ n.role = "Follower" /\ m.from = n.leader
    /\ m.offset = Len(n.log) /\ m.lastEpoch = LastEpoch(n.log)

Asking(n, r, l) ==
    IF \E m \in l.out : m.kind = "Fetch" THEN r.role = "Follower"
    ELSE /\ asking[n.id] /\ l.event # "Began"
         /\ ~(l.event \in {"Disconnected", "PeerGone"} /\ l.peer = n.leader)
         /\ ~(l.event = "Received" /\ IsCurrent(n, l.message))

-----------------------------------------------------------------------------
(* Voter changes (Q12): asked for, refused, begun, answered.               *)

\* As many voters as a quorum can have.
MaxVoters == 8

\* The name of the first reason against a change.
Refusal(n, l) ==
    LET voter == l.message.voter IN
    CASE n.role # "Leader" -> "NotLeader"
      [] n.role = "Leader" /\ change[n.id] # <<>> -> "ChangePending"
      [] n.role = "Leader" /\ change[n.id] = <<>> /\ ~MayChangeVoters(n) ->
            IF ~Serves(n) THEN "EpochNotCommitted"
            ELSE IF VotersAt(n.log) = 0 THEN "Static" ELSE "SetNotCommitted"
      [] OTHER ->
            CASE l.event = "AddVoter" /\ voter[2] = 0 -> "NoDirectory"
              [] l.event = "AddVoter" /\ voter[2] # 0 /\ voter[1] \in Ids(VotersOf(n)) -> "Duplicate"
              [] l.event = "AddVoter" /\ voter[2] # 0 /\ voter[1] \notin Ids(VotersOf(n))
                    /\ Cardinality(VotersOf(n)) >= MaxVoters -> "Full"
              [] l.event # "AddVoter" /\ voter \notin VotersOf(n) -> "NotFound"
              [] l.event = "RemoveVoter" /\ VotersOf(n) = {voter} -> "Last"
              [] OTHER -> ""

\* Who is added has to catch up first.
Asked(n, l) ==
    IF Refusal(n, l) # "" \/ l.event = "AddVoter" THEN Quiet(n)
    ELSE Quiet(ChangeVoters(n, IF l.event = "RemoveVoter" THEN VotersOf(n) \ {l.message.voter}
                               ELSE VotersOf(n)))

\* Whether the fetch m says that it has.
CatchesUp(n, m) ==
    /\ n.role = "Leader" /\ change[n.id] # <<>>
    /\ LET c == change[n.id][1]
       IN  c.at = 0 /\ c.voter = m.replica /\ m.offset >= c.target /\ MayChangeVoters(n)

\* The change that n was at, if it is now r; at is where its record stands, 0 until it is written.
Under(n, r, l) ==
    CASE l.event = "Began" -> <<>>
      [] l.event \in {"AddVoter", "RemoveVoter", "UpdateVoter"} /\ Refusal(n, l) = "" ->
            <<[id |-> l.message.id, voter |-> l.message.voter, target |-> Len(n.log),
               at |-> IF l.event = "AddVoter" THEN 0 ELSE Len(n.log) + 1]>>
      [] l.event \in {"Received", "HoldExpired"} /\ VotersAt(r.log) > VotersAt(n.log)
            /\ n.role = "Leader" /\ change[n.id] # <<>> ->
            <<[change[n.id][1] EXCEPT !.at = VotersAt(r.log)]>>
      [] OTHER -> change[n.id]

\* How it ends with this line: <<>> if it does not.
Outcome(c, r, l) ==
    CASE c.at # 0 /\ r.hw >= c.at -> <<"">>
      [] ~(c.at # 0 /\ r.hw >= c.at) /\ r.role # "Leader" -> <<"LostLeadership">>
      [] ~(c.at # 0 /\ r.hw >= c.at) /\ r.role = "Leader" /\ l.timer = "VoterChange" ->
            <<IF c.at = 0 THEN "Lagging" ELSE "NotCommitted">>
      [] OTHER -> <<>>

Ends(n, r, l) == LET c == Under(n, r, l) IN IF c = <<>> THEN <<>> ELSE Outcome(c[1], r, l)

ChangesFit(n, r, l) ==
    LET c == Under(n, r, l)
        refused == l.event \in {"AddVoter", "RemoveVoter", "UpdateVoter"} /\ Refusal(n, l) # ""
    IN  l.answers = (IF refused THEN {<<l.message.id, Refusal(n, l)>>} ELSE {})
                        \cup (IF Ends(n, r, l) = <<>> THEN {} ELSE {<<c[1].id, Ends(n, r, l)[1]>>})

-----------------------------------------------------------------------------
(* What a line's event leads to: of several results one must be the line's.*)

\* The disk may have got further in the meantime.
OnDisk(n, l) == [n EXCEPT !.flushed = Max(@, Min(l.after.flushed, Len(n.log)))]

\* The disk that a process begins with: the one before, or a new one.
Disk(n, l) == IF l.message.me = Key(n) THEN n ELSE NewNode(n.id, l.message.me[2], l.message.voters)

\* A log that has lost at most what was not flushed. Of a process that was killed in the middle of a
\* step the trace lacks that step, of which nobody has heard; but the log may have what it appended,
\* which another node's has as well.
LogsOnDisk(disk, l) ==
    LET extends == {id \in DOMAIN node : /\ Len(node[id].log) >= l.after.end
                                         /\ SubSeq(node[id].log, 1, Len(disk.log)) = disk.log}
    IN  IF l.after.end <= Len(disk.log) THEN {SubSeq(disk.log, 1, l.after.end)}
        ELSE {SubSeq(node[id].log, 1, l.after.end) : id \in extends}

\* Q2: what was stored last.
Begun(n, l) ==
    LET disk == Disk(n, l)
    IN  {Restarted(disk, Stored(disk), log, l.after.start) : log \in LogsOnDisk(disk, l)}

TimeRanOut(n, l) ==
    CASE l.timer = "Election" /\ n.role = "Follower" ->
            IF ~IsVoter(n) \/ l.after.role = "Follower" THEN Quiet(n) ELSE TimedOut(n)
      [] l.timer = "Election" /\ n.role \notin {"Follower", "Leader"} ->
            IF IsVoter(n) THEN TimedOut(n) ELSE Quiet(n)
      [] l.timer = "Fetch" /\ n.role = "Follower" -> TimedOut(n)
      [] l.timer = "CheckQuorum" /\ n.role = "Leader" -> Resign(n)
      [] l.timer = "Announce" /\ n.role = "Leader" -> Says(n, Announcements(n))
      [] OTHER -> Quiet(n)

\* Of a leader's answer the line says how many records fitted.
Fetched(n, l) ==
    LET sizes == {Len(m.records[1]) : m \in {o \in l.out : o.kind = "FetchResponse"}}
        size == IF sizes = {} THEN 0 ELSE CHOOSE s \in sizes : TRUE
        m == l.message
        Then(next) == IF CatchesUp(n, m) THEN ChangeVoters(next, VotersOf(next) \cup {m.replica})
                      ELSE next
    IN  OnFetchThen(n, m, size, Then)

\* Q11: what was asked for may have been deleted for a later one that is not in force yet.
FetchedSnapshot(n, m) ==
    LET r == OnFetchSnapshot(n, m)
    IN  {r, Says(n, {[answer EXCEPT !.found = FALSE, !.state = <<>>] : answer \in r.out})}

\* An observer does not follow a voter that it has no link to, whoever names it: it asks on.
MayPassOver(n, m) ==
    /\ ~IsVoter(n)
    /\ m.kind \in {"VoteResponse", "BeginResponse", "FetchResponse", "FetchSnapshotResponse"}
    /\ m.leader \in Ids(VotersOf(n))

Received(n, l) ==
    LET m == l.message IN
    CASE IsCurrent(n, m) /\ ~asking[n.id] -> {Quiet(n)}
      [] m.kind = "Fetch" -> {Fetched(n, l)}
      [] m.kind = "FetchSnapshot" -> FetchedSnapshot(n, m)
         \* It counts once it is installed; what was not asked for is passed over.
      [] m.kind = "FetchSnapshotResponse" /\ TakesSnapshot(n, m) ->
            {Quiet(n), Quiet([n EXCEPT !.fetched = TRUE])}
      [] OTHER -> {On(n, Heard(n, m))} \cup
            (IF MayPassOver(n, m) THEN {On(n, [Heard(n, m) EXCEPT !.leader = None])} ELSE {})

\* Q11: of what is committed only.
Written(n, l) ==
    LET id == l.message.id
    IN  IF id.end > n.hw \/ id # SnapshotId(n.log, id.end) THEN {}
        ELSE {Quiet(IF id.end > n.start THEN Snapshot(n, id.end) ELSE n)}

\* Whoever leads by now.
Installed(n, l) ==
    {Quiet(IF m.id.end > n.hw THEN StandDown(Install(n, m)) ELSE n) :
        m \in {answer \in states : answer.to = n.id /\ answer.id = l.message.id}}

RECURSIVE AppendData(_, _)
AppendData(n, count) ==
    IF count = 0 THEN n ELSE AppendData([n EXCEPT !.log = Append(@, Data(n.epoch, 1))], count - 1)

Proposed(n, l) ==
    LET count == l.after.end - Len(n.log)
    IN  IF count > 0 /\ Serves(n) THEN Quiet(AdvanceHighWatermark(AppendData(n, count))) ELSE Quiet(n)

Results(n, l) ==
    CASE l.event = "Timeout" -> {TimeRanOut(n, l)}
      [] l.event \in {"Received", "HoldExpired"} -> Received(n, l)
      [] l.event = "Flushed" -> {Quiet(AdvanceHighWatermark(n))}
      [] l.event = "Connected" -> {Says(n, IF n.role = "Leader" THEN Announcements(n) ELSE {})}
      [] l.event = "PeerGone" -> {Quiet(IF n.leader = l.peer THEN LoseLeader(n) ELSE n)}
      [] l.event = "Propose" -> {Proposed(n, l)}
      [] l.event = "Resign" -> {IF n.role = "Leader" THEN Resign(n) ELSE Quiet(n)}
      [] l.event = "SnapshotWritten" -> Written(n, l)
      [] l.event = "SnapshotInstalled" -> Installed(n, l)
      [] l.event \in {"AddVoter", "RemoveVoter", "UpdateVoter"} -> {Asked(n, l)}
      [] OTHER -> {Quiet(n)}

Leads(n, l) ==
    IF l.event = "Began" THEN Begun(n, l)
    ELSE LET now == OnDisk(n, l)
         IN  {[r EXCEPT !.out = @ \cup Leaving(now, r.n)] : r \in Results(now, l)}

-----------------------------------------------------------------------------
(* Whether that is what the line says.                                     *)

Looks(n, l) ==
    LET a == l.after IN
    /\ n.epoch = a.epoch /\ n.vote = a.vote /\ n.role = a.role /\ n.leader = a.leader
    /\ n.fetched = a.fetched /\ n.granted = a.granted /\ n.refused = a.refused
    /\ n.hw = a.hw /\ n.start = a.start /\ VotersOf(n) = a.voters
    /\ Len(n.log) = a.end /\ LastEpoch(n.log) = a.lastEpoch /\ n.flushed = a.flushed
    /\ \A end \in a.ends : n.ends[end[1]] = end[2]

\* A follower fetches at once where it may; an observer without a leader asks who leads.
FetchesFit(n, l) ==
    \A m \in l.out : m.kind = "Fetch" =>
        /\ m = FetchRequest(n, m.to)
        /\ \/ MayFetch(n) /\ m.to = n.leader
           \/ n.role = "Unattached" /\ ~IsVoter(n)

\* A leader holds a fetch that has no news for the fetcher, and repeats itself only if it must.
AnswersFit(r, l) ==
    LET got == {m \in l.out : m.kind # "Fetch"}
        wanted == {Told(m) : m \in r.out}
    IN  \/ got = wanted
        \/ l.event = "Connected" /\ got = {}
        \/ /\ l.event = "Received" /\ l.message.kind = "Fetch" /\ got = {}
           /\ \A m \in wanted : m.kind = "FetchResponse" /\ m.outcome = "Records" /\ m.records[1] = <<>>

WasSent(l) ==
    l.event \in {"Received", "HoldExpired"} =>
        l.message.from \notin TraceVoters \/ l.message \in sent

WasOnDisk(n, l) ==
    l.event = "Began" =>
        LET disk == Disk(n, l) m == l.message
        IN  /\ Stored(disk) = [epoch |-> m.epoch, vote |-> m.vote, leader |-> m.leader]
            /\ l.after.end >= disk.flushed
            /\ l.after.start <= disk.snapshot

Next ==
    /\ line <= Len(TraceLines)
    /\ LET l == TraceLines[line]
           n == node[l.node]
       IN  /\ WasSent(l)
           /\ WasOnDisk(n, l)
           /\ \E r \in Leads(n, l) :
                /\ Looks(r.n, l)
                /\ FetchesFit(r.n, l)
                /\ AnswersFit(r, l)
                /\ ChangesFit(n, r.n, l)
                /\ node' = [node EXCEPT ![l.node] = r.n]
                /\ sent' = sent \cup {m \in l.out : m.to \in TraceVoters}
                /\ states' = states \cup {m \in r.out : m.kind = "FetchSnapshotResponse" /\ m.found}
                /\ asking' = [asking EXCEPT ![l.node] = Asking(n, r.n, l)]
                /\ change' = [change EXCEPT ![l.node] =
                        IF Ends(n, r.n, l) = <<>> THEN Under(n, r.n, l) ELSE <<>>]
                /\ Remember({r.n})
    /\ line' = line + 1

Spec == Init /\ [][Next]_vars

\* What was said follows from the line.
Place == <<line, node, asking, change>>
=============================================================================
