--------------------------- MODULE QuorumAbstract ---------------------------
(***************************************************************************)
(* The controller quorum (KRaft) with nothing under way: a request and its *)
(* answer are one step, of which the answer may be lost, and what a node   *)
(* writes is on its disk at once.  Quorum.tla has the messages and the     *)
(* disk.                                                                   *)
(*                                                                         *)
(*   Unattached --> Prospective --> Candidate --> Leader --> Resigned      *)
(*        ^   \         |   ^                       (Q1)                   *)
(*        |    `--> Follower                                               *)
(*                                                                         *)
(* A node is a record; what it makes of a request or of an answer is a     *)
(* function from the record to the next one.  The actions at the end put   *)
(* two such functions together.  Rules are cited by their names in         *)
(* ARCHITECTURE.md (Q1 to Q12).                                            *)
(***************************************************************************)
EXTENDS Integers, Sequences, FiniteSets

CONSTANTS
    Voters,      \* ids, integers above 0
    MaxEpoch,    \* nobody stands for election beyond it
    MaxRecords,  \* records that leaders append beside their LeaderChanges
    Mutation     \* the guard that is missing, "none" for none

VARIABLES
    node,        \* what each voter is, knows and has in its log
    proposed,    \* how many records were proposed; their numbers tell them apart
    led,         \* <<epoch, id>> of everybody who ever led
    committed    \* the longest prefix that anybody ever took for committed

vars == <<node, proposed, led, committed>>

-----------------------------------------------------------------------------
(* Nodes.                                                                  *)

None == 0

\* What the leader knows of a voter that has not fetched in its epoch.
Unknown == -1

Roles == {"Unattached", "Prospective", "Candidate", "Leader", "Follower", "Resigned"}

Nobody == [v \in Voters |-> Unknown]

\* A record: its epoch, and the number of the proposal, 0 for a LeaderChange.
LeaderChange(e) == <<e, 0>>

Holds(guard) == Mutation # guard

LastEpoch(log) == IF log = <<>> THEN 0 ELSE log[Len(log)][1]

\* Q6: the largest epoch of the log that is not above e, and where it ends.
EndOfEpoch(log, e) ==
    LET below == {k \in 1..Len(log) : log[k][1] <= e}
    IN  IF below = {} THEN [epoch |-> e, end |-> 0]
        ELSE LET last == Cardinality(below) IN [epoch |-> log[last][1], end |-> last]

Min(a, b) == IF a < b THEN a ELSE b
Max(a, b) == IF a > b THEN a ELSE b

\* Q5, Q7: more than half.
Majority == LET half == Cardinality(Voters) \div 2
            IN  IF Holds("majority-is-half") THEN half + 1 ELSE Max(half, 1)

\* Q7: where the epoch that a leader leads begins in its log.
EpochStart(n) == CHOOSE at \in 0..(Len(n.log) - 1) :
    /\ n.log[at + 1] = LeaderChange(n.epoch)
    /\ \A later \in (at + 2)..Len(n.log) : n.log[later] # LeaderChange(n.epoch)

\* Leads, and knows it to be safe to act (KAFKA-15345).
Serves(n) == n.role = "Leader" /\ n.hw > EpochStart(n)

\* A node's fields that mean something in one role only have one value in all others.
Become(n, role, leader) ==
    [n EXCEPT !.role = role, !.leader = leader, !.fetched = FALSE,
              !.granted = {}, !.refused = {}, !.ends = Nobody]

-----------------------------------------------------------------------------
(* Epochs and leaders that a node hears of.                                *)

\* Enters a higher epoch, or gives up on this one.
Detach(n, e) ==
    [Become(n, "Unattached", None) EXCEPT !.epoch = e, !.vote = IF e > n.epoch THEN None ELSE @]

\* "Has fetched" begins anew with every leader that is followed (Q4).
Follow(n, e, leader) ==
    [Become(n, "Follower", leader) EXCEPT !.epoch = e, !.vote = IF e > n.epoch THEN None ELSE @]

\* Only a higher epoch, or the leader of this one where none is known, is news.
Learn(n, e, leader) ==
    LET known == IF leader = n.id THEN None ELSE leader
    IN  CASE e > n.epoch /\ known # None -> Follow(n, e, known)
          [] e > n.epoch /\ known = None -> Detach(n, e)
          [] e = n.epoch /\ known # None /\ n.leader = None -> Follow(n, e, known)
          [] OTHER -> n

-----------------------------------------------------------------------------
(* The high watermark.                                                     *)

\* The largest end that a majority has reached.
Reached(ends) ==
    CHOOSE end \in {ends[v] : v \in Voters} :
        /\ Cardinality({v \in Voters : ends[v] >= end}) >= Majority
        /\ Cardinality({v \in Voters : ends[v] > end}) < Majority

\* Q7: what a majority of the voters has is committed once that includes a record of this epoch.
AdvanceHighWatermark(n) ==
    LET reached == Reached([n.ends EXCEPT ![n.id] = Len(n.log)])
        own == \/ ~Holds("commit-old-epoch")
               \/ reached > EpochStart(n)
               \/ ~Holds("hw-at-epoch-start") /\ reached >= EpochStart(n)
    IN  IF own /\ reached > n.hw THEN [n EXCEPT !.hw = reached] ELSE n

-----------------------------------------------------------------------------
(* Votes.                                                                  *)

\* Q4: asks first whether a majority would vote; nothing is stored.
BecomeProspective(n) ==
    [Become(n, "Prospective", IF n.role = "Follower" THEN n.leader ELSE None)
        EXCEPT !.granted = {n.id}]

\* Q4: a granted pre-vote is no vote.
Stand(n) ==
    [Become(n, "Candidate", None)
        EXCEPT !.epoch = n.epoch + 1, !.vote = n.id,
               !.granted = IF Holds("prevote-is-vote") THEN {n.id} ELSE n.granted]

\* Q5: the epoch's first record.
Lead(n) == AdvanceHighWatermark(
    [Become(n, "Leader", n.id)
        EXCEPT !.log = Append(@, LeaderChange(n.epoch)), !.ends[n.id] = 0])

\* Stands, or with enough pre-votes for votes leads at once.
StandOrLead(n) ==
    LET c == Stand(n)
    IN  IF Cardinality(c.granted) >= Majority THEN Lead(c) ELSE c

Tire(n) ==
    LET p == BecomeProspective(n)
    IN  IF ~Holds("drop-prevote") \/ Majority = 1 THEN StandOrLead(p) ELSE p

\* Q4: back to the leader that is known, or to waiting for one.
LoseProspects(n) ==
    IF n.leader = None THEN Detach(n, n.epoch) ELSE Become(n, "Follower", n.leader)

VoteRequest(n) ==
    [epoch |-> n.epoch, candidate |-> n.id, lastEpoch |-> LastEpoch(n.log), end |-> Len(n.log),
     preVote |-> n.role = "Prospective"]

\* Q3: (last epoch, end) in dictionary order.
UpToDate(n, r) ==
    LET e == LastEpoch(n.log) IN
    CASE ~Holds("skip-log-up-to-date") -> TRUE
      [] ~Holds("compare-log-memberwise") -> r.lastEpoch >= e /\ r.end >= Len(n.log)
      [] OTHER -> r.lastEpoch > e \/ (r.lastEpoch = e /\ r.end >= Len(n.log))

\* Q4: never while a leader is at work.
WouldVote(n, r) ==
    /\ n.role # "Leader"
    /\ ~(n.role = "Follower" /\ n.fetched /\ Holds("prevote-under-live-leader"))
    /\ UpToDate(n, r)

\* Q3: one vote an epoch, and none where the epoch has a leader.
MayVote(n, r) ==
    \/ n.vote = r.candidate
    \/ /\ n.vote = None \/ ~Holds("vote-twice")
       /\ n.leader = None
       /\ UpToDate(n, r)

\* Q3: [node, answer].  Whoever gives its vote away waits for the outcome.
AnswerVote(n, r) ==
    IF r.epoch < n.epoch
    THEN [node |-> n, answer |-> [epoch |-> n.epoch, leader |-> n.leader, granted |-> FALSE]]
    ELSE LET there == IF r.epoch > n.epoch THEN Detach(n, r.epoch) ELSE n
             granted == IF r.preVote THEN WouldVote(there, r) ELSE MayVote(there, r)
             voted == IF ~granted \/ r.preVote \/ there.vote = r.candidate THEN there
                      ELSE IF there.role = "Prospective"
                           THEN [Become(there, "Unattached", None) EXCEPT !.vote = r.candidate]
                           ELSE [there EXCEPT !.vote = r.candidate]
         IN  [node |-> voted,
              answer |-> [epoch |-> voted.epoch, leader |-> voted.leader, granted |-> granted]]

Count(n, from, granted) ==
    IF granted THEN [n EXCEPT !.granted = @ \cup {from}, !.refused = @ \ {from}]
    ELSE IF from \in n.granted THEN n
    ELSE [n EXCEPT !.refused = @ \cup {from}]

Lost(n) == Cardinality(Voters) - Cardinality(n.refused) < Majority

\* Q4: a refusal that names the leader of this very epoch ends the attempt at once.
CountPreVote(n, from, a) ==
    LET c == Count(n, from, a.granted)
    IN  CASE Cardinality(c.granted) >= Majority -> StandOrLead(c)
          [] Cardinality(c.granted) < Majority /\ ~a.granted /\ a.leader \notin {None, n.id} ->
                IF c.leader # None THEN LoseProspects(c) ELSE Learn(c, a.epoch, a.leader)
          [] Lost(c) -> LoseProspects(c)
          [] OTHER -> c

\* Q5.
CountVote(n, from, a) ==
    LET c == Count(n, from, a.granted)
    IN  IF Cardinality(c.granted) >= Majority THEN Lead(c) ELSE c

HearVote(n, from, a) ==
    CASE a.epoch > n.epoch -> Learn(n, a.epoch, a.leader)
      [] a.epoch = n.epoch /\ n.role = "Prospective" -> CountPreVote(n, from, a)
      [] a.epoch = n.epoch /\ n.role = "Candidate" -> CountVote(n, from, a)
      [] OTHER -> n

-----------------------------------------------------------------------------
(* Fetches.                                                                *)

FetchRequest(n) ==
    [epoch |-> n.epoch, offset |-> Len(n.log), lastEpoch |-> LastEpoch(n.log)]

\* Q6: notes what a fetch acknowledges.
RecordFetch(n, from, offset) ==
    IF from = n.id THEN n ELSE AdvanceHighWatermark([n EXCEPT !.ends[from] = offset])

\* Q6: [node, answer].
AnswerFetch(n, from, r) ==
    LET answer(m, kind) == [kind |-> kind, epoch |-> m.epoch, leader |-> m.leader,
                            records |-> <<>>, hw |-> 0, end |-> [epoch |-> 0, end |-> 0]]
        end == EndOfEpoch(n.log, r.lastEpoch)
        valid == /\ end.epoch = r.lastEpoch
                 /\ r.offset <= end.end \/ ~Holds("ack-own-end")
    IN  IF r.epoch # n.epoch \/ n.role # "Leader"
        THEN [node |-> n, answer |-> answer(n, "Refused")]
        ELSE IF valid \/ ~Holds("ignore-divergence")
        THEN LET m == RecordFetch(n, from, r.offset)
                 next == IF r.offset < Len(m.log) THEN <<m.log[r.offset + 1]>> ELSE <<>>
             IN  [node |-> m,
                  answer |-> [answer(m, "Records") EXCEPT !.records = next, !.hw = m.hw]]
        ELSE LET m == IF Holds("commit-on-nack") THEN n ELSE RecordFetch(n, from, r.offset)
             IN  [node |-> m, answer |-> [answer(m, "Diverging") EXCEPT !.end = end, !.hw = m.hw]]

\* Q8: what the leader does not have goes; its high watermark is not taken from such an answer.
Truncate(n, a) ==
    LET to == Min(a.end.end, EndOfEpoch(n.log, a.end.epoch).end)
        hw == IF Holds("hw-from-divergence") THEN n.hw ELSE Max(n.hw, Min(a.hw, to))
    IN  [n EXCEPT !.log = SubSeq(@, 1, to), !.fetched = TRUE, !.hw = hw]

HearFetch(n, a) ==
    CASE a.epoch # n.epoch -> Learn(n, a.epoch, a.leader)
      [] a.epoch = n.epoch /\ a.kind = "Refused" -> [n EXCEPT !.fetched = FALSE]
      [] a.epoch = n.epoch /\ a.kind = "Diverging" -> Truncate(n, a)
      [] a.epoch = n.epoch /\ a.kind = "Records" ->
            LET log == n.log \o a.records
                told == IF Holds("hw-beyond-own-end") THEN Min(a.hw, Len(log)) ELSE a.hw
                hw == IF Holds("hw-falls") THEN Max(n.hw, told) ELSE told
            IN  [n EXCEPT !.log = log, !.hw = hw, !.fetched = TRUE]

-----------------------------------------------------------------------------
(* Restarts and resignations.                                              *)

\* Q2: what the node was decides what it may be now.  A candidate does not stand on in its epoch.
Restarted(n) ==
    LET led_it == \/ n.leader = n.id \/ n.role = "Resigned"
                  \/ n.vote = n.id /\ n.leader = None /\ LastEpoch(n.log) = n.epoch
        down == [n EXCEPT !.hw = 0]
    IN  CASE led_it /\ Holds("restart-as-leader") -> Become(down, "Resigned", None)
          [] led_it /\ ~Holds("restart-as-leader") -> Lead(down)
          [] ~led_it /\ n.leader # None -> Become(down, "Follower", n.leader)
          [] OTHER -> Become(down, "Unattached", None)

\* Q10: the leader's word that it leads no longer.
HearEnd(n, from, e) ==
    CASE e > n.epoch -> Detach(n, e)
      [] e = n.epoch /\ n.leader = from /\ n.role = "Follower" -> [n EXCEPT !.fetched = FALSE]
      [] OTHER -> n

-----------------------------------------------------------------------------
(* Actions.                                                                *)

\* Puts new nodes in place and remembers what must not be forgotten.
Set(next) ==
    /\ node' = next
    /\ led' = led \cup {<<next[v].epoch, v>> : v \in {w \in Voters : next[w].role = "Leader"}}
    /\ LET further == {v \in Voters : next[v].hw > Len(committed)}
       IN  committed' = IF further = {} THEN committed
                        ELSE LET most == CHOOSE v \in further : \A w \in further : next[v].hw >= next[w].hw
                             IN  SubSeq(next[most].log, 1, Min(next[most].hw, Len(next[most].log)))

Update(i, n) == Set([node EXCEPT ![i] = n])
Update2(i, n, j, m) == Set([node EXCEPT ![i] = n, ![j] = m])

\* Q1, Q4: a timer runs out, of the election or, on a follower, of its leader.
Timeout(i) ==
    /\ node[i].role # "Leader"
    /\ LET n == IF node[i].role = "Prospective" THEN LoseProspects(node[i]) ELSE Tire(node[i])
       IN  n.epoch <= MaxEpoch /\ Update(i, n)
    /\ UNCHANGED proposed

\* The leader's process is taken for dead, rightly or not: never wrong, at most early.
PeerGone(i) ==
    /\ node[i].role = "Follower" /\ node[i].fetched
    /\ Update(i, [node[i] EXCEPT !.fetched = FALSE])
    /\ UNCHANGED proposed

\* Q3, Q4: i asks j for its vote or pre-vote; `heard` says whether it gets the answer.
Vote(i, j, heard) ==
    /\ node[i].role \in {"Prospective", "Candidate"}
    /\ j \notin node[i].granted \cup node[i].refused
    /\ LET a == AnswerVote(node[j], VoteRequest(node[i]))
           n == IF heard THEN HearVote(node[i], j, a.answer) ELSE node[i]
       IN  n.epoch <= MaxEpoch /\ Update2(i, n, j, a.node)
    /\ UNCHANGED proposed

\* Q5: the leader i makes itself known to a voter that has not fetched from it.
Begin(i, j, heard) ==
    /\ node[i].role = "Leader" /\ node[i].ends[j] = Unknown
    /\ LET m == Learn(node[j], node[i].epoch, i)
           n == IF heard THEN Learn(node[i], m.epoch, m.leader) ELSE node[i]
       IN  Update2(i, n, j, m)
    /\ UNCHANGED proposed

\* Q6, Q7, Q8: i fetches from j, whom it takes for its leader.
Fetch(i, j, heard) ==
    /\ node[i].role = "Follower" /\ node[i].leader = j
    /\ LET a == AnswerFetch(node[j], i, FetchRequest(node[i]))
           n == IF heard THEN HearFetch(node[i], a.answer) ELSE node[i]
       IN  Update2(i, n, j, a.node)
    /\ UNCHANGED proposed

\* The controller on i, which serves, writes one record.
Propose(i) ==
    /\ Serves(node[i]) /\ proposed < MaxRecords
    /\ proposed' = proposed + 1
    /\ Update(i, AdvanceHighWatermark([node[i] EXCEPT !.log = Append(@, <<node[i].epoch, proposed + 1>>)]))

\* Q9, Q10: an orderly stop, or no majority fetches; `told` are those who hear of it.
Resign(i, told) ==
    /\ node[i].role = "Leader"
    /\ Holds("drop-end-quorum") \/ told = {}
    /\ Set([v \in Voters |->
            CASE v = i -> Become(node[i], "Resigned", None)
              [] v \in told -> HearEnd(node[v], i, node[i].epoch)
              [] OTHER -> node[v]])
    /\ UNCHANGED proposed

\* Q2.
Restart(i) ==
    /\ Update(i, Restarted(node[i]))
    /\ UNCHANGED proposed

Init ==
    /\ node = [v \in Voters |->
            [id |-> v, epoch |-> 0, vote |-> None, role |-> "Unattached", leader |-> None,
             fetched |-> FALSE, granted |-> {}, refused |-> {}, log |-> <<>>, hw |-> 0,
             ends |-> Nobody]]
    /\ proposed = 0
    /\ led = {}
    /\ committed = <<>>

Next ==
    \E i \in Voters :
        \/ Timeout(i)
        \/ PeerGone(i)
        \/ Propose(i)
        \/ Restart(i)
        \/ \E told \in SUBSET (Voters \ {i}) : Resign(i, told)
        \/ \E j \in Voters \ {i}, heard \in BOOLEAN :
            Vote(i, j, heard) \/ Begin(i, j, heard) \/ Fetch(i, j, heard)

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
(* What must hold, by the names of model/src/invariant/quorum.rs.          *)

TypeOK ==
    \A v \in Voters : LET n == node[v] IN
        /\ n.epoch \in 0..MaxEpoch
        /\ n.vote \in Voters \cup {None}
        /\ n.role \in Roles
        /\ n.leader \in Voters \cup {None}
        /\ (n.role = "Leader") <=> (n.leader = v)
        /\ n.role = "Follower" => n.leader # None
        /\ n.fetched => n.role = "Follower"
        /\ n.hw \in 0..Len(n.log)

OneLeaderPerEpoch == \A a, b \in led : a[1] = b[1] => a = b

LogsMatch ==
    \A v, w \in Voters : \A k \in 1..Min(Len(node[v].log), Len(node[w].log)) :
        node[v].log[k][1] = node[w].log[k][1] =>
            SubSeq(node[v].log, 1, k) = SubSeq(node[w].log, 1, k)

EpochsAscend ==
    \A v \in Voters : LET log == node[v].log IN
        /\ \A k \in 1..(Len(log) - 1) : log[k][1] <= log[k + 1][1]
        /\ LastEpoch(log) <= node[v].epoch

StartsWith(log, prefix) == Len(prefix) <= Len(log) /\ SubSeq(log, 1, Len(prefix)) = prefix

LeaderIsComplete ==
    \A v \in Voters :
        node[v].role = "Leader" /\ node[v].epoch >= LastEpoch(committed) =>
            StartsWith(node[v].log, committed)

CommittedNeverChanges ==
    \A v \in Voters :
        /\ node[v].hw <= Len(node[v].log)
        /\ SubSeq(node[v].log, 1, Min(node[v].hw, Len(committed))) =
           SubSeq(committed, 1, Min(node[v].hw, Len(committed)))

CommittedIsDurable ==
    2 * Cardinality({v \in Voters : StartsWith(node[v].log, committed)}) > Cardinality(Voters)

\* Steps.
PromisesKept == [][
    \A v \in Voters :
        \/ node'[v].epoch > node[v].epoch
        \/ /\ node'[v].epoch = node[v].epoch
           /\ node[v].vote \in {None, node'[v].vote}]_vars

HighWatermarkRises == [][\A v \in Voters : node'[v].hw >= node[v].hw \/ Restart(v)]_vars

\* The committed prefix of the whole quorum only grows.
CommittedGrows == [][StartsWith(committed', committed)]_vars
=============================================================================
