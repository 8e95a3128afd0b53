------------------------------- MODULE Quorum -------------------------------
(***************************************************************************)
(* The controller quorum (KRaft) with its messages under way and its disks *)
(* behind: pre-votes (KIP-996), voter changes (KIP-853), snapshots.        *)
(*                                                                         *)
(*   node[i] -- out --> outbox[i] --(file stored)--> msgs --> node[j]      *)
(*      |                                                                  *)
(*      `-- log, flushed to `durable`; quorum-state, pending over `file`   *)
(*                                                                         *)
(* QuorumNode.tla says what a node makes of what it gets.  A crash leaves  *)
(* what the disk has: any prefix of what was appended since the last flush *)
(* or, since a truncation may be lost too, the log as it was flushed.      *)
(***************************************************************************)
EXTENDS QuorumPromises

CONSTANTS
    Voters,    \* ids of the first voters; the other nodes begin as observers
    Cut,       \* pairs of ids, {a, b}, that never hear of each other
    Limit      \* what may happen how often: a record of numbers, see Spent

VARIABLES
    durable,   \* per id: the log as it was flushed last
    file,      \* per id: the quorum-state file
    pending,   \* per id: <<>>, or <<the content that is being stored>>
    outbox,    \* per id: what leaves once that is on disk (Q2)
    msgs,      \* what is under way, in any order
    spent      \* how often what has happened

vars == <<node, durable, file, pending, outbox, msgs, spent, led, committed>>

Spent == [timeouts |-> 0, records |-> 0, crashes |-> 0, losses |-> 0, duplicates |-> 0,
          gone |-> 0, resigns |-> 0, snapshots |-> 0, changes |-> 0, wipes |-> 0]

May(what) == spent[what] < Limit[what]
Spend(what) == spent' = [spent EXCEPT ![what] = @ + 1]

Bootstrap == {<<v, 1>> : v \in Voters}

\* Once no crash can come, nothing tells a slow disk from a slow network.
Quick == ~May("crashes") /\ ~May("wipes")

\* A node whose quorum-state is being stored does nothing else: nobody would hear of it.
Ready(i) == pending[i] = <<>>

Init ==
    /\ node = [i \in Nodes |-> NewNode(i, 1, Bootstrap)]
    /\ durable = [i \in Nodes |-> <<>>]
    /\ file = [i \in Nodes |-> Stored(NewNode(i, 1, Bootstrap))]
    /\ pending = [i \in Nodes |-> <<>>]
    /\ outbox = [i \in Nodes |-> {}]
    /\ msgs = {}
    /\ spent = Spent
    /\ led = {}
    /\ committed = <<>>

-----------------------------------------------------------------------------
(* Steps.                                                                  *)

Reachable(out) == {m \in out : {m.from, m.to} \notin Cut}

\* Answers that their receiver ignores whatever comes: of an epoch that is behind it for good.
Answers == {"VoteResponse", "BeginResponse", "FetchResponse", "FetchSnapshotResponse"}
Heard(sent, files) ==
    {m \in sent : ~(m.kind \in Answers /\ m.epoch < files[m.to].epoch /\ Holds("stale-vote-counts"))}

\* Node i becomes what r says and says what it has to; the messages `used` are gone.
Step(i, r, used) ==
    LET quick == Quick /\ Ready(i)
        n == IF quick THEN Flushed(r.n) ELSE r.n
        changed == Stored(n) # Stored(node[i])
        stores == changed /\ ~quick
        out == r.out \cup Leaving(node[i], n)
        early == IF Holds("vote-before-durable") THEN {}
                 ELSE {m \in r.out : m.kind = "VoteResponse"}
        now == Reachable(IF stores THEN early ELSE out)
        files == IF changed /\ quick THEN [file EXCEPT ![i] = Stored(n)] ELSE file
    IN  /\ n.epoch <= Limit.epoch
        /\ node' = [node EXCEPT ![i] = n]
        /\ durable' = IF quick THEN [durable EXCEPT ![i] = n.log] ELSE durable
        /\ file' = files
        /\ pending' = IF stores THEN [pending EXCEPT ![i] = <<Stored(n)>>] ELSE pending
        /\ outbox' = IF stores THEN [outbox EXCEPT ![i] = Reachable(out \ early)] ELSE outbox
        /\ msgs' = Heard((msgs \ used) \cup now, files)
        /\ Remember({n})

Free(i, r, used) == Step(i, r, used) /\ UNCHANGED spent

\* Q1, Q4: the first timer to run out is the first voter's; which one it is makes no difference.
Timeout(i) ==
    /\ Ready(i) /\ May("timeouts") /\ node[i].role # "Leader"
    /\ IsVoter(node[i]) \/ node[i].role = "Follower"
    /\ spent.timeouts = 0 => \A v \in Voters : i <= v
    /\ Step(i, TimedOut(node[i]), {}) /\ Spend("timeouts")

\* The leader is taken for dead, rightly or not.
PeerGone(i) ==
    /\ Ready(i) /\ May("gone") /\ node[i].role = "Follower" /\ node[i].fetched
    /\ Step(i, Quiet(LoseLeader(node[i])), {}) /\ Spend("gone")

\* Q9: no majority fetches, or an orderly stop.
ResignAsLeader(i) ==
    /\ Ready(i) /\ May("resigns") /\ node[i].role = "Leader"
    /\ Step(i, Resign(node[i]), {}) /\ Spend("resigns")

\* Q5: the leader repeats its announcement.
Announce(i) ==
    /\ Ready(i) /\ node[i].role = "Leader" /\ May("losses")
    /\ Reachable(Announcements(node[i])) \ msgs # {}
    /\ Free(i, Says(node[i], Announcements(node[i])), {})

\* Q6: a follower asks once from where its log ends; what it asked before may still be answered.
Asks(i) == \E m \in msgs :
    /\ m.kind \in {"Fetch", "FetchResponse", "FetchSnapshot", "FetchSnapshotResponse"}
    /\ m.kind \in {"Fetch", "FetchSnapshot"} => m.from = i
    /\ m.kind \in {"FetchResponse", "FetchSnapshotResponse"} => m.to = i
    /\ m.kind \in {"Fetch", "FetchResponse"} =>
        m.offset = Len(node[i].log) /\ m.lastEpoch = LastEpoch(node[i].log)

Fetch(i) ==
    /\ Ready(i) /\ MayFetch(node[i]) /\ ~Asks(i)
    /\ Free(i, Says(node[i], {FetchRequest(node[i], node[i].leader)}), {})

\* Q1: an observer without a leader asks around.
AskForLeader(i, j) ==
    /\ Ready(i) /\ ~IsVoter(node[i]) /\ node[i].role = "Unattached" /\ ~Asks(i)
    /\ node[j].epoch > node[i].epoch \/ node[j].leader # None
    /\ Free(i, Says(node[i], {FetchRequest(node[i], j)}), {})

Deliver(m) ==
    /\ Ready(m.to)
    /\ Free(m.to, On(node[m.to], m), {m})

DeliverTwice(m) ==
    /\ Ready(m.to) /\ May("duplicates")
    /\ Step(m.to, On(node[m.to], m), {}) /\ Spend("duplicates")

Lose(m) ==
    /\ May("losses") /\ Spend("losses")
    /\ msgs' = msgs \ {m}
    /\ UNCHANGED <<node, durable, file, pending, outbox, led, committed>>

\* The controller on i, which serves, writes one record.
Propose(i) ==
    /\ Ready(i) /\ May("records") /\ Serves(node[i])
    /\ Step(i, Quiet(Append1(node[i], Data(node[i].epoch, spent.records + 1))), {}) /\ Spend("records")

-----------------------------------------------------------------------------
(* Disks.                                                                  *)

FlushLog(i) ==
    /\ durable[i] # node[i].log \/ node[i].flushed < Len(node[i].log)
    /\ node' = [node EXCEPT ![i] = Flushed(node[i])]
    /\ durable' = [durable EXCEPT ![i] = node[i].log]
    /\ Remember({node'[i]})
    /\ msgs' = msgs \cup Reachable(Leaving(node[i], node'[i]))
    /\ UNCHANGED <<file, pending, outbox, spent>>

StoreFile(i) ==
    /\ pending[i] # <<>>
    /\ file' = [file EXCEPT ![i] = pending[i][1]]
    /\ pending' = [pending EXCEPT ![i] = <<>>]
    /\ msgs' = Heard(msgs \cup outbox[i], file')
    /\ outbox' = [outbox EXCEPT ![i] = {}]
    /\ UNCHANGED <<node, durable, spent, led, committed>>

Survivors(i) ==
    {SubSeq(node[i].log, 1, end) : end \in node[i].flushed..Len(node[i].log)} \cup {durable[i]}

\* What a snapshot covers is on disk with it (Q11).
Covered(n, log) ==
    SubSeq(n.log, 1, n.snapshot)
        \o (IF Len(log) > n.snapshot THEN SubSeq(log, n.snapshot + 1, Len(log)) ELSE <<>>)

\* The process dies and starts on what its disk has kept.  What was under way from it is lost; what
\* was under way to it may come late, to the new process.  The files of what a snapshot covers may
\* still be there.
Crash(i, log, stored, late, start) ==
    LET r == Restarted(node[i], stored, Covered(node[i], log), start)
        gone == {m \in msgs : m.from = i \/ (m.to = i /\ ~late)}
    IN  /\ node' = [node EXCEPT ![i] = r.n]
        /\ durable' = [durable EXCEPT ![i] = SubSeq(r.n.log, 1, r.n.flushed)]
        /\ file' = [file EXCEPT ![i] = stored]
        /\ pending' = [pending EXCEPT ![i] = IF Stored(r.n) = stored THEN <<>> ELSE <<Stored(r.n)>>]
        /\ outbox' = [outbox EXCEPT ![i] = IF Stored(r.n) = stored THEN {} ELSE Reachable(r.out)]
        /\ msgs' = Heard((msgs \ gone) \cup (IF Stored(r.n) = stored THEN Reachable(r.out) ELSE {}), file')
        /\ Remember({r.n})

CrashLosing(i) ==
    /\ May("crashes")
    /\ \E log \in Survivors(i),
          stored \in {file[i]} \cup {pending[i][k] : k \in 1..Len(pending[i])},
          late \in {FALSE} \cup {\E m \in msgs : m.to = i},
          start \in {0, node[i].snapshot} :
            Crash(i, log, stored, late, start)
    /\ Spend("crashes")

\* The disk is replaced: another directory, and nothing on it.
Wipe(i) ==
    LET n == NewNode(i, node[i].dir + 1, node[i].bootstrap)
    IN  /\ May("wipes") /\ Spend("wipes")
        /\ node' = [node EXCEPT ![i] = n]
        /\ durable' = [durable EXCEPT ![i] = <<>>]
        /\ file' = [file EXCEPT ![i] = Stored(n)]
        /\ pending' = [pending EXCEPT ![i] = <<>>]
        /\ outbox' = [outbox EXCEPT ![i] = {}]
        /\ msgs' = {m \in msgs : m.from # i /\ m.to # i}
        /\ UNCHANGED <<led, committed>>

-----------------------------------------------------------------------------
(* Snapshots and voters.                                                   *)

\* Q11: of what is committed only.
TakeSnapshot(i) ==
    /\ Ready(i) /\ May("snapshots")
    /\ \E end \in (node[i].snapshot + 1)..node[i].hw : Step(i, Quiet(Snapshot(node[i], end)), {})
    /\ Spend("snapshots")

\* Q12.  Whether the new voter has caught up is a question of availability.
AddVoter(i, j) ==
    /\ Ready(i) /\ May("changes") /\ MayChangeVoters(node[i])
    /\ j \notin Ids(VotersOf(node[i]))
    /\ Step(i, Quiet(ChangeVoters(node[i], VotersOf(node[i]) \cup {Key(node[j])})), {})
    /\ Spend("changes")

RemoveVoter(i, key) ==
    /\ Ready(i) /\ May("changes") /\ MayChangeVoters(node[i])
    /\ key \in VotersOf(node[i]) /\ Cardinality(VotersOf(node[i])) > 1
    /\ Step(i, Quiet(ChangeVoters(node[i], VotersOf(node[i]) \ {key})), {})
    /\ Spend("changes")

Next ==
    \/ \E i \in Nodes :
        \/ Timeout(i) \/ PeerGone(i) \/ ResignAsLeader(i) \/ Announce(i) \/ Fetch(i) \/ Propose(i)
        \/ FlushLog(i) \/ StoreFile(i) \/ CrashLosing(i) \/ Wipe(i) \/ TakeSnapshot(i)
        \/ \E j \in Nodes \ {i} : AskForLeader(i, j) \/ AddVoter(i, j)
        \/ \E key \in VotersOf(node[i]) : RemoveVoter(i, key)
    \/ \E m \in msgs : Deliver(m) \/ DeliverTwice(m) \/ Lose(m)

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
(* What must hold besides: of disks, and of steps.                         *)

OnDisk(v) == SubSeq(node[v].log, 1, node[v].flushed)

\* Q7, Q12: on the flushed logs of a majority of the voters: of those that are committed, or, which differ by
\* one at most, of those that somebody who has it all knows.
CommittedIsDurable ==
    LET IsDurable(keys) ==
            LET holders == {key \in keys : StartsWith(OnDisk(key[1]), committed)}
            IN  2 * Cardinality(holders) > Cardinality(keys)
    IN  \/ spent.wipes > 0
        \/ IsDurable(VotersIn(committed, Bootstrap))
        \/ \E i \in Nodes : StartsWith(node[i].log, committed) /\ IsDurable(VotersOf(node[i]))

\* Q3, Q5: whoever led had the votes of a majority, for that epoch and on their disks.
LeadersHaveVotes ==
    \/ spent.wipes + spent.changes > 0
    \/ \A l \in led :
        LET voted == {v \in Voters : file[v].epoch > l[1] \/ (file[v].epoch = l[1] /\ file[v].vote[1] = l[2])}
        IN  2 * Cardinality(voted) > Cardinality(Voters)

\* Q2, Q3: what others may have heard of: the stored epoch and vote.
PromisesKept == [][
    \A v \in Nodes :
        \/ file'[v].epoch > file[v].epoch
        \/ (file'[v].epoch = file[v].epoch) /\ file[v].vote \in {NoKey, file'[v].vote}
        \/ spent'.wipes > spent.wipes]_vars

\* Q7: of a node that keeps running.
HighWatermarkRises == [][
    \A v \in Nodes : node'[v].hw >= node[v].hw
        \/ spent'.crashes > spent.crashes \/ spent'.wipes > spent.wipes]_vars

\* Q4: who is in touch with the leader of its epoch helps nobody into another one.
LiveLeaderKeepsVoters == [][
    \A m \in msgs' \ msgs :
        m.kind = "VoteResponse" /\ m.preVote /\ m.granted =>
            ~(node[m.from].role = "Follower" /\ node[m.from].fetched
                /\ node[m.from].epoch = m.epoch)]_vars
=============================================================================
