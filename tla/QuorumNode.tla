----------------------------- MODULE QuorumNode -----------------------------
(***************************************************************************)
(* One node of the controller quorum: what it makes of a message, of a     *)
(* timer, of its disk's answers.  Everything here is a function of one     *)
(* node's state and yields [n |-> the next state, out |-> what it says].   *)
(* Quorum.tla puts nodes, network and disks together; QuorumTrace.tla      *)
(* holds what processes did against the same functions.                    *)
(*                                                                         *)
(* Rules Q1 to Q12 are those of ARCHITECTURE.md.                           *)
(***************************************************************************)
EXTENDS Integers, Sequences, FiniteSets

CONSTANTS
    Nodes,     \* ids, integers above 0: voters, and observers that may become voters
    Dynamic,   \* whether voters may change (Q12, kraft.version 1)
    Mutation   \* the guard that is missing, "none" for none

None == 0
NoKey == <<0, 0>>
Unknown == -1

Holds(guard) == Mutation # guard

Min(a, b) == IF a < b THEN a ELSE b
Max(a, b) == IF a > b THEN a ELSE b

-----------------------------------------------------------------------------
(* Logs.  A record is of an epoch and has either the number of a proposal  *)
(* or a set of voters; a LeaderChange has neither.                         *)

LeaderChange(e) == [epoch |-> e, number |-> 0, voters |-> {}]
Data(e, number) == [epoch |-> e, number |-> number, voters |-> {}]
VotersRecord(e, keys) == [epoch |-> e, number |-> 0, voters |-> keys]

LastEpoch(log) == IF log = <<>> THEN 0 ELSE log[Len(log)].epoch

\* The largest number of 0..k for which Test holds, which it does for 0.
Last(k, Test(_)) == CHOOSE last \in 0..k : Test(last) /\ \A at \in (last + 1)..k : ~Test(at)

\* Q6: the largest epoch in what is kept of the log that is not above e, and where it ends.
EndOfEpoch(n, e) ==
    LET Within(k) == k <= n.start \/ n.log[k].epoch <= e
        end == Last(Len(n.log), Within)
    IN  [epoch |-> IF end <= n.start THEN e ELSE n.log[end].epoch, end |-> end]

Truncated(n, to) ==
    [n EXCEPT !.log = SubSeq(@, 1, to), !.flushed = Min(@, to)]

-----------------------------------------------------------------------------
(* Nodes.                                                                  *)

\* A replica is a node and its disk's directory (KIP-853).
Key(n) == <<n.id, n.dir>>

\* Q12: who votes is what the last Voters record says, committed or not.
VotersIn(log, bootstrap) ==
    LET IsVoters(k) == k = 0 \/ log[k].voters # {}
        at == Last(Len(log), IsVoters)
    IN  IF at = 0 THEN bootstrap ELSE log[at].voters

VotersAt(log) == LET IsVoters(k) == k = 0 \/ log[k].voters # {} IN Last(Len(log), IsVoters)

VotersOf(n) ==
    LET known == IF Holds("voters-on-commit") THEN n.log ELSE SubSeq(n.log, 1, Min(n.hw, Len(n.log)))
    IN  IF Dynamic THEN VotersIn(known, n.bootstrap) ELSE n.bootstrap

Ids(keys) == {key[1] : key \in keys}

Same(a, b) == a = b \/ (~Holds("voter-without-directory") /\ a[1] = b[1])

IsVoter(n) == \E key \in VotersOf(n) : Same(key, Key(n))

\* Q5, Q7: more than half.
Majority(keys) ==
    LET half == Cardinality(keys) \div 2
    IN  IF Holds("majority-is-half") THEN half + 1 ELSE Max(half, 1)

Nobody == [v \in Nodes |-> Unknown]

NewNode(id, dir, bootstrap) ==
    [id |-> id, dir |-> dir, bootstrap |-> bootstrap,
     epoch |-> 0, vote |-> NoKey, role |-> "Unattached", leader |-> None, fetched |-> FALSE,
     granted |-> {}, refused |-> {}, ends |-> Nobody, hw |-> 0,
     log |-> <<>>, start |-> 0, snapshot |-> 0, flushed |-> 0]

\* A node's fields that mean something in one role only have one value in all others.
Become(n, role, leader) ==
    [n EXCEPT !.role = role, !.leader = leader, !.fetched = FALSE,
              !.granted = {}, !.refused = {}, !.ends = Nobody]

\* Q2: what a restart must know, in the quorum-state file.
Stored(n) == [epoch |-> n.epoch, vote |-> n.vote,
              leader |-> IF n.role = "Resigned" THEN n.id ELSE n.leader]

Says(n, out) == [n |-> n, out |-> out]
Quiet(n) == Says(n, {})

\* Peers in the configuration that this node knows.
Peers(n) == {key \in VotersOf(n) : key[1] # n.id}

\* Q7: where the epoch that a leader leads begins.
EpochStart(n) ==
    LET Opens(k) == k = 0 \/ n.log[k] = LeaderChange(n.epoch) IN Last(Len(n.log), Opens) - 1

\* Leads, and knows it to be safe to act (KAFKA-15345).
Serves(n) == n.role = "Leader" /\ n.hw > EpochStart(n)

\* Q12: the set in force is committed.
VotersAreCommitted(n) == VotersAt(n.log) # 0 /\ VotersAt(n.log) <= n.hw

-----------------------------------------------------------------------------
(* Epochs and leaders that a node hears of.                                *)

Detach(n, e) ==
    [Become(n, "Unattached", None) EXCEPT !.epoch = e, !.vote = IF e > n.epoch THEN NoKey ELSE @]

\* "Has fetched" begins anew with every leader that is followed (Q4).
Follow(n, e, leader) ==
    [Become(n, "Follower", leader) EXCEPT !.epoch = e, !.vote = IF e > n.epoch THEN NoKey ELSE @]

\* Only a higher epoch, or the leader of this one where none is known, is news.
Learn(n, e, leader) ==
    LET known == IF leader = n.id THEN None ELSE leader
    IN  CASE e > n.epoch /\ known # None -> Follow(n, e, known)
          [] e > n.epoch /\ known = None -> Detach(n, e)
          [] e = n.epoch /\ known # None /\ n.leader = None -> Follow(n, e, known)
          [] OTHER -> n

-----------------------------------------------------------------------------
(* The high watermark, and what a leader does when it moves.               *)

\* The largest end that a majority of the voters has on disk.
Reached(n) ==
    LET keys == VotersOf(n)
        own == IF Holds("count-unflushed") THEN n.flushed ELSE Len(n.log)
        counted == Ids(keys) \cup (IF Holds("count-removed-leader") THEN {} ELSE {n.id})
        end(v) == IF v = n.id THEN own ELSE n.ends[v]
        IsReached(at) == at = 0 \/ Cardinality({v \in counted : end(v) >= at}) >= Majority(keys)
    IN  Last(Len(n.log), IsReached)

\* Q7: nothing is committed by counting before a record of this epoch is (KAFKA-12619).
AdvanceHighWatermark(n) ==
    LET reached == Reached(n)
        own == \/ ~Holds("commit-old-epoch")
               \/ reached > EpochStart(n)
               \/ ~Holds("hw-at-epoch-start") /\ reached >= EpochStart(n)
        next == IF n.role = "Leader" /\ own /\ reached > n.hw THEN [n EXCEPT !.hw = reached] ELSE n
    IN  \* Q12: a leader that was removed leads until that is committed.
        IF next.role = "Leader" /\ ~IsVoter(next) /\ VotersAreCommitted(next)
        THEN Become(next, "Unattached", None)
        ELSE next

\* What is known of a voter holds as long as it is one.
AdoptVoters(n) ==
    [n EXCEPT !.ends = [v \in Nodes |-> IF v \in Ids(VotersOf(n)) \cup {n.id} THEN @[v] ELSE Unknown],
              !.granted = @ \cap Ids(VotersOf(n)), !.refused = @ \cap Ids(VotersOf(n))]

\* Q12: who is a voter no longer does not stand for election.
StandDown(n) ==
    IF Dynamic /\ ~IsVoter(n) /\ n.role \in {"Prospective", "Candidate", "Resigned"}
    THEN Detach(n, n.epoch) ELSE n

\* The disk has everything that was written.
Flushed(n) == AdvanceHighWatermark([n EXCEPT !.flushed = Len(n.log)])

-----------------------------------------------------------------------------
(* Asking for votes (Q3, Q4).                                              *)

VoteRequests(n) ==
    {[kind |-> "Vote", from |-> n.id, to |-> key[1], epoch |-> n.epoch, candidate |-> Key(n),
      voter |-> key, lastEpoch |-> LastEpoch(n.log), end |-> Len(n.log),
      preVote |-> n.role = "Prospective"] : key \in Peers(n)}

Announcements(n) ==
    {[kind |-> "Begin", from |-> n.id, to |-> key[1], epoch |-> n.epoch, voter |-> key]
        : key \in {k \in Peers(n) : n.ends[k[1]] = Unknown}}

\* Q5: the epoch's first record, and where no record says who votes, one that does.
Lead(n) ==
    LET leader == [Become(n, "Leader", n.id)
            EXCEPT !.ends[n.id] = 0,
                   !.log = @ \o <<LeaderChange(n.epoch)>> \o
                        (IF Dynamic /\ VotersAt(n.log) = 0
                         THEN <<VotersRecord(n.epoch, n.bootstrap)>> ELSE <<>>)]
        led == AdvanceHighWatermark(leader)
    IN  Says(led, Announcements(led))

\* Q4: a granted pre-vote is no vote, and only a Prospective becomes Candidate.
Stand(n) ==
    LET candidate == [Become(n, "Candidate", None)
            EXCEPT !.epoch = n.epoch + 1, !.vote = Key(n),
                   !.granted = IF Holds("prevote-is-vote") THEN {n.id} ELSE n.granted]
        asks == VoteRequests(candidate)
    IN  IF Cardinality(candidate.granted) >= Majority(VotersOf(n))
        THEN LET l == Lead(candidate) IN Says(l.n, asks \cup l.out)
        ELSE Says(candidate, asks)

\* Q4: asks first whether a majority would vote; stores nothing.
BecomeProspective(n) ==
    LET p == [Become(n, "Prospective", IF n.role = "Follower" THEN n.leader ELSE None)
                EXCEPT !.granted = {n.id}]
    IN  IF ~Holds("drop-prevote") THEN Stand(p)
        ELSE IF Majority(VotersOf(n)) = 1
             THEN LET s == Stand(p) IN Says(s.n, VoteRequests(p) \cup s.out)
             ELSE Says(p, VoteRequests(p))

\* Q4: back to the leader that is known, or to waiting for one.
LoseProspects(n) ==
    IF n.leader = None THEN Detach(n, n.epoch) ELSE Become(n, "Follower", n.leader)

\* The election timer, or a follower's of its leader.
TimedOut(n) ==
    CASE n.role = "Follower" /\ ~IsVoter(n) -> Quiet(Detach(n, n.epoch))
      [] n.role = "Prospective" -> Quiet(LoseProspects(n))
      [] OTHER -> BecomeProspective(n)

-----------------------------------------------------------------------------
(* Answering for votes.                                                    *)

\* Q3: (last epoch, end) in dictionary order.
UpToDate(n, m) ==
    LET e == LastEpoch(n.log) IN
    CASE ~Holds("skip-log-up-to-date") -> TRUE
      [] ~Holds("compare-log-memberwise") -> m.lastEpoch >= e /\ m.end >= Len(n.log)
      [] OTHER -> m.lastEpoch > e \/ (m.lastEpoch = e /\ m.end >= Len(n.log))

\* Q4: never while a leader is at work.
WouldVote(n, m) ==
    /\ n.role # "Leader"
    /\ ~(n.role = "Follower" /\ n.fetched /\ Holds("prevote-under-live-leader"))
    /\ UpToDate(n, m)

\* Q3: one vote an epoch, and none where the epoch has a leader.
MayVote(n, m) ==
    \/ Same(n.vote, m.candidate)
    \/ /\ n.vote = NoKey \/ ~Holds("vote-twice")
       /\ n.leader = None
       /\ UpToDate(n, m)

\* Q3: whoever gives its vote away waits for the outcome.
RecordVote(n, candidate) ==
    IF n.vote = candidate THEN n
    ELSE IF n.role = "Prospective"
         THEN [Become(n, "Unattached", None) EXCEPT !.vote = candidate]
         ELSE [n EXCEPT !.vote = candidate]

VoteAnswer(n, m, granted, error) ==
    Says(n, {[kind |-> "VoteResponse", from |-> n.id, to |-> m.from, epoch |-> n.epoch,
              leader |-> n.leader, granted |-> granted, preVote |-> m.preVote, error |-> error]})

\* Q3.  The candidate's log says who votes; here only the identity must match (KIP-853).
OnVote(n, m) ==
    CASE m.epoch < n.epoch -> VoteAnswer(n, m, FALSE, "FencedLeaderEpoch")
      [] m.epoch >= n.epoch /\ ~Same(m.voter, Key(n)) -> VoteAnswer(n, m, FALSE, "InvalidVoterKey")
      [] OTHER ->
            LET there == IF m.epoch > n.epoch THEN Detach(n, m.epoch) ELSE n
                granted == IF m.preVote THEN WouldVote(there, m) ELSE MayVote(there, m)
                voted == IF granted /\ ~m.preVote THEN RecordVote(there, m.candidate) ELSE there
            IN  VoteAnswer(voted, m, granted, "")

Count(n, from, granted) ==
    IF granted THEN [n EXCEPT !.granted = @ \cup {from}, !.refused = @ \ {from}]
    ELSE IF from \in n.granted THEN n
    ELSE [n EXCEPT !.refused = @ \cup {from}]

Enough(n) == Cardinality(n.granted) >= Majority(VotersOf(n))
Lost(n) == Cardinality(VotersOf(n)) - Cardinality(n.refused) < Majority(VotersOf(n))

\* Q4: a refusal that names the leader of this very epoch ends the attempt at once.
CountPreVote(n, m) ==
    LET c == Count(n, m.from, m.granted)
    IN  CASE Enough(c) -> Stand(c)
          [] ~Enough(c) /\ ~m.granted /\ m.leader \notin {None, n.id} ->
                Quiet(IF c.leader # None THEN LoseProspects(c) ELSE Learn(c, m.epoch, m.leader))
          [] ~Enough(c) /\ Lost(c) /\ (m.granted \/ m.leader \in {None, n.id}) ->
                Quiet(LoseProspects(c))
          [] OTHER -> Quiet(c)

\* Q5.
CountVote(n, m) ==
    LET c == Count(n, m.from, m.granted) IN IF Enough(c) THEN Lead(c) ELSE Quiet(c)

OnVoteResponse(n, m) ==
    CASE m.from \notin Ids(VotersOf(n)) -> Quiet(n)
      [] m.from \in Ids(VotersOf(n)) /\ m.epoch > n.epoch -> Quiet(Learn(n, m.epoch, m.leader))
      [] m.from \in Ids(VotersOf(n)) /\ m.epoch <= n.epoch
            /\ (m.error # "" \/ (m.epoch < n.epoch /\ Holds("stale-vote-counts"))) -> Quiet(n)
      [] OTHER -> CASE n.role = "Prospective" /\ m.preVote -> CountPreVote(n, m)
                    [] n.role = "Candidate" /\ ~m.preVote -> CountVote(n, m)
                    [] OTHER -> Quiet(Learn(n, m.epoch, m.leader))

-----------------------------------------------------------------------------
(* Being led (Q5, Q10).                                                    *)

OnBegin(n, m) ==
    IF ~Same(m.voter, Key(n)) THEN Quiet(n)
    ELSE LET next == Learn(n, m.epoch, m.from)
         IN  Says(next, {[kind |-> "BeginResponse", from |-> n.id, to |-> m.from,
                          epoch |-> next.epoch, leader |-> next.leader]})

OnBeginResponse(n, m) == Quiet(Learn(n, m.epoch, m.leader))

\* The leader is gone or has resigned: pre-votes are granted again.
LoseLeader(n) ==
    CASE n.role = "Follower" /\ IsVoter(n) -> [n EXCEPT !.fetched = FALSE]
      [] n.role = "Follower" /\ ~IsVoter(n) -> Detach(n, n.epoch)
      [] OTHER -> n

OnEnd(n, m) ==
    Quiet(CASE m.epoch > n.epoch -> Detach(n, m.epoch)
            [] m.epoch = n.epoch /\ n.leader = m.from -> LoseLeader(n)
            [] OTHER -> n)

\* Q10.
Farewell(n) ==
    IF ~Holds("drop-end-quorum") THEN {}
    ELSE {[kind |-> "End", from |-> n.id, to |-> key[1], epoch |-> n.epoch] : key \in Peers(n)}

\* Q9, Q10.
Resign(n) == Says(Become(n, IF IsVoter(n) THEN "Resigned" ELSE "Unattached", None), Farewell(n))

\* Q12: so does a leader whose removal is committed, when its high watermark gets there.
Leaving(before, after) ==
    IF before.role = "Leader" /\ after.role = "Unattached" /\ after.epoch = before.epoch
    THEN Farewell(after) ELSE {}

-----------------------------------------------------------------------------
(* Fetching (Q6, Q7, Q8).                                                  *)

\* What a follower acknowledges must be on its disk.
MayFetch(n) ==
    n.role = "Follower" /\ (n.flushed = Len(n.log) \/ ~Holds("count-unflushed"))

FetchRequest(n, to) ==
    [kind |-> "Fetch", from |-> n.id, to |-> to, epoch |-> n.epoch, replica |-> Key(n),
     offset |-> Len(n.log), lastEpoch |-> LastEpoch(n.log)]

SnapshotRequest(n, to, id) ==
    [kind |-> "FetchSnapshot", from |-> n.id, to |-> to, epoch |-> n.epoch, replica |-> Key(n),
     id |-> id]

\* Q6: only a valid fetch of a voter moves its recorded end.
RecordFetch(n, m) ==
    IF \E key \in VotersOf(n) : Same(key, m.replica)
    THEN AdvanceHighWatermark([n EXCEPT !.ends[m.from] = m.offset])
    ELSE n

FetchAnswer(n, m, outcome, records, hw, end) ==
    Says(n, {[kind |-> "FetchResponse", from |-> n.id, to |-> m.from, epoch |-> n.epoch,
              leader |-> n.leader, offset |-> m.offset, lastEpoch |-> m.lastEpoch,
              outcome |-> outcome, records |-> records, hw |-> hw, end |-> end]})

NoEnd == [epoch |-> 0, end |-> 0]

\* Q11: what a snapshot is called: where it ends, and the epoch of its last record.
SnapshotId(log, end) == [epoch |-> LastEpoch(SubSeq(log, 1, end)), end |-> end]

\* Q11: the log no longer reaches back to the fetcher, or it is empty and a snapshot is quicker.  At
\* the log's start only a snapshot tells the epoch of what is below.
NeedsSnapshot(n, m) ==
    /\ n.snapshot > 0
    /\ \/ m.offset = 0
       \/ m.offset < n.start
       \/ /\ n.start > 0 /\ m.offset = n.start
          /\ [epoch |-> m.lastEpoch, end |-> m.offset] # SnapshotId(n.log, n.snapshot)

\* An answer has as many records as fit; one is the finest grain.  Then is what the leader does about
\* a valid fetch before it reads its log for it.
OnFetchThen(n, m, size, Then(_)) ==
    LET end == EndOfEpoch(n, m.lastEpoch)
        valid == /\ end.epoch = m.lastEpoch
                 /\ m.offset <= end.end \/ ~Holds("ack-own-end")
    IN  CASE m.epoch # n.epoch -> FetchAnswer(n, m, "Fenced", <<>>, 0, NoEnd)
          [] m.epoch = n.epoch /\ n.role # "Leader" -> FetchAnswer(n, m, "Refused", <<>>, 0, NoEnd)
          [] m.epoch = n.epoch /\ n.role = "Leader" /\ NeedsSnapshot(n, m) ->
                FetchAnswer(n, m, "Snapshot", <<>>, 0, SnapshotId(n.log, n.snapshot))
          [] m.epoch = n.epoch /\ n.role = "Leader" /\ ~NeedsSnapshot(n, m)
                /\ (valid \/ ~Holds("ignore-divergence")) ->
                LET next == Then(RecordFetch(n, m))
                    records == SubSeq(next.log, m.offset + 1, Min(m.offset + size, Len(next.log)))
                IN  IF next.role = "Leader"
                    THEN FetchAnswer(next, m, "Records", records, next.hw, NoEnd)
                    ELSE FetchAnswer(next, m, "Refused", <<>>, 0, NoEnd)
          [] OTHER ->
                LET next == IF Holds("commit-on-nack") THEN n ELSE RecordFetch(n, m)
                IN  FetchAnswer(next, m, "Diverging", <<>>, next.hw, end)

OnFetch(n, m) == LET AsItIs(next) == next IN OnFetchThen(n, m, 1, AsItIs)

\* Q8: what the leader does not have goes, and the voters fall back with it; the high watermark of
\* such an answer is not taken (KAFKA-14704).
OnDiverging(n, m) ==
    LET to == Min(m.end.end, EndOfEpoch(n, m.end.epoch).end)
        cut == [Truncated(n, to) EXCEPT !.fetched = TRUE]
        hw == IF Holds("hw-from-divergence") THEN cut.hw ELSE Max(cut.hw, Min(m.hw, Len(cut.log)))
    IN  StandDown([cut EXCEPT !.hw = hw])

\* Q7, Q8: append, flush, and no more is committed than is there. Nor is less, though a new leader may
\* know less of it.
OnRecords(n, m) ==
    LET log == n.log \o m.records
        told == IF Holds("hw-beyond-own-end") THEN Min(m.hw, Len(log)) ELSE m.hw
        hw == IF Holds("hw-falls") THEN Max(n.hw, told) ELSE told
    IN  StandDown([n EXCEPT !.log = log, !.hw = hw, !.fetched = TRUE])

\* An answer to an older fetch says nothing about where the log ends now.
OnFetchResponse(n, m) ==
    LET current == m.offset = Len(n.log) /\ m.lastEpoch = LastEpoch(n.log)
        \* Takes what is there already once more, from where it begins.
        again == /\ ~Holds("truncate-then-append")
                 /\ m.outcome = "Records" /\ m.offset < Len(n.log)
    IN  CASE m.epoch # n.epoch \/ n.leader = None -> Quiet(Learn(n, m.epoch, m.leader))
          [] m.epoch = n.epoch /\ n.leader # None
                /\ (n.role # "Follower" \/ n.leader # m.from \/ ~(current \/ again)) -> Quiet(n)
          [] OTHER ->
                CASE m.outcome = "Refused" -> Quiet(LoseLeader(n))
                     \* To a fetch of an earlier epoch: that it leads no more it does not say.
                  [] m.outcome = "Fenced" -> Quiet(n)
                  [] m.outcome = "Diverging" -> Quiet(OnDiverging(n, m))
                  [] m.outcome = "Records" ->
                        Quiet(OnRecords(IF current THEN n ELSE Truncated(n, m.offset), m))
                  [] m.outcome = "Snapshot" ->
                        Says([n EXCEPT !.fetched = TRUE],
                             IF m.end.end > n.hw THEN {SnapshotRequest(n, m.from, m.end)} ELSE {})

-----------------------------------------------------------------------------
(* Snapshots (Q11).  What a snapshot holds is kept here as the records     *)
(* that it replaces: state.  The log begins where the latest one ends, or  *)
(* before it: files are dropped as a whole, so that a restart may find     *)
(* again what was cut off.                                                 *)

\* The records below an end become a snapshot and the log's start moves there.
Snapshot(n, end) == [n EXCEPT !.start = end, !.snapshot = end]

\* A voter that takes a snapshot is in touch with its leader, and has acknowledged nothing.
OnFetchSnapshot(n, m) ==
    LET there == /\ m.epoch = n.epoch /\ n.role = "Leader"
                 /\ n.snapshot = m.id.end /\ m.id = SnapshotId(n.log, n.snapshot)
        voter == \E key \in VotersOf(n) : Same(key, m.replica)
        next == IF there /\ voter THEN [n EXCEPT !.ends[m.from] = Max(@, 0)] ELSE n
        upTo == IF Holds("snapshot-off-by-one") THEN m.id.end ELSE m.id.end - 1
    IN  Says(next, {[kind |-> "FetchSnapshotResponse", from |-> n.id, to |-> m.from, epoch |-> n.epoch,
                  leader |-> n.leader, id |-> m.id, found |-> there,
                  state |-> IF there THEN SubSeq(n.log, 1, upTo) ELSE <<>>]})

\* The snapshot is durable and loaded: the log begins at its end, and goes if it is not a
\* continuation of it.
Install(n, m) ==
    LET continues == Len(n.log) >= m.id.end /\ SnapshotId(n.log, m.id.end) = m.id
        rest == IF continues THEN SubSeq(n.log, m.id.end + 1, Len(n.log)) ELSE <<>>
        log == m.state \o rest
    IN  [n EXCEPT !.log = log, !.start = m.id.end, !.snapshot = m.id.end, !.hw = m.id.end,
                  !.flushed = Len(log)]

TakesSnapshot(n, m) ==
    m.epoch = n.epoch /\ n.role = "Follower" /\ n.leader = m.from /\ m.found /\ m.id.end > n.hw

OnFetchSnapshotResponse(n, m) ==
    CASE m.epoch # n.epoch -> Quiet(Learn(n, m.epoch, m.leader))
      [] TakesSnapshot(n, m) -> Quiet(StandDown(Install([n EXCEPT !.fetched = TRUE], m)))
      [] OTHER -> Quiet(n)

-----------------------------------------------------------------------------
(* Everything that a message leads to.                                     *)

On(n, m) ==
    CASE m.kind = "Vote" -> OnVote(n, m)
      [] m.kind = "VoteResponse" -> OnVoteResponse(n, m)
      [] m.kind = "Begin" -> OnBegin(n, m)
      [] m.kind = "BeginResponse" -> OnBeginResponse(n, m)
      [] m.kind = "End" -> OnEnd(n, m)
      [] m.kind = "Fetch" -> OnFetch(n, m)
      [] m.kind = "FetchResponse" -> OnFetchResponse(n, m)
      [] m.kind = "FetchSnapshot" -> OnFetchSnapshot(n, m)
      [] m.kind = "FetchSnapshotResponse" -> OnFetchSnapshotResponse(n, m)

-----------------------------------------------------------------------------
(* Proposals and voter changes.                                            *)

Append1(n, record) == AdvanceHighWatermark([n EXCEPT !.log = Append(@, record)])

\* Q12: a commit in this epoch, and no set that is not committed.
MayChangeVoters(n) ==
    /\ Dynamic /\ n.role = "Leader"
    /\ Serves(n) \/ ~Holds("reconfigure-before-commit")
    /\ VotersAreCommitted(n) \/ ~Holds("two-uncommitted-voter-sets")

\* Q12: in force as soon as it is written, and committed by its own majority.
ChangeVoters(n, keys) ==
    AdvanceHighWatermark(AdoptVoters([n EXCEPT !.log = Append(@, VotersRecord(n.epoch, keys))]))

-----------------------------------------------------------------------------
(* Restarts (Q2).                                                          *)

\* The node as it starts with what its disk holds: a quorum-state file and a log.  A candidate does
\* not stand on in its epoch, as Kafka's does: votes for the log that it had may still arrive.
Restarted(n, file, log, start) ==
    LET fresh == [NewNode(n.id, n.dir, n.bootstrap)
                    EXCEPT !.epoch = file.epoch, !.vote = file.vote, !.log = log, !.start = start,
                           !.snapshot = n.snapshot, !.flushed = Len(log), !.hw = start]
        led == \/ file.leader = n.id
               \/ file.vote = Key(n) /\ file.leader = None /\ LastEpoch(log) = file.epoch
    IN  CASE file.epoch < LastEpoch(log) ->
                Quiet([fresh EXCEPT !.epoch = LastEpoch(log), !.vote = NoKey])
          [] file.epoch >= LastEpoch(log) /\ led /\ IsVoter(fresh) ->
                IF Holds("restart-as-leader") THEN Quiet(Become(fresh, "Resigned", None)) ELSE Lead(fresh)
          [] file.epoch >= LastEpoch(log) /\ ~(led /\ IsVoter(fresh))
                /\ file.leader \notin {None, n.id} -> Quiet(Become(fresh, "Follower", file.leader))
          [] file.epoch >= LastEpoch(log) /\ ~led /\ file.leader = None /\ file.vote = Key(n)
                /\ ~Holds("restart-as-candidate") ->
                Quiet([Become(fresh, "Candidate", None) EXCEPT !.granted = {n.id}])
          [] OTHER -> Quiet(fresh)
=============================================================================
