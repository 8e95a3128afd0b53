--------------------------- MODULE QuorumLiveness ---------------------------
(***************************************************************************)
(* That a quorum gets somewhere: a leader is elected and stays, also under *)
(* the partition of KIP-996, and what is proposed gets committed.  Over    *)
(* QuorumAbstract.tla, with what makes it so:                              *)
(*                                                                         *)
(*  - timers are longer than exchanges, and random: nobody times out while *)
(*    something that is due would help, nor two at once;                   *)
(*  - who is linked gets an answer; who is not gets none;                  *)
(*  - the leader of the first epoch may crash once.                        *)
(***************************************************************************)
EXTENDS QuorumAbstract

CONSTANT Cut  \* pairs of ids, {a, b}, that never hear of each other

Linked(i, j) == {i, j} \notin Cut

TopEpoch == CHOOSE e \in {node[v].epoch : v \in Voters} : \A v \in Voters : node[v].epoch <= e

Leads(v) == node[v].role = "Leader" /\ node[v].epoch = TopEpoch

\* There is a leader, and whoever is linked with it is in touch with it.
Settled ==
    \E v \in Voters :
        /\ Leads(v)
        /\ \A w \in Voters \ {v} : Linked(v, w) => node[w].leader = v /\ node[w].fetched
        /\ 2 * Cardinality({w \in Voters : node[w].leader = v /\ (w = v \/ node[w].fetched)}) > Cardinality(Voters)

Stands(v) == node[v].role \in {"Prospective", "Candidate"}

\* An answer that i waits for and will get.
VoteIsDue(i) ==
    Stands(i) /\ \E j \in Voters \ {i} : Linked(i, j) /\ j \notin node[i].granted \cup node[i].refused

LiveTimeout(i) ==
    /\ \A v \in Voters \ {i} : ~Stands(v)
    /\ ~VoteIsDue(i)
    /\ (\E v \in Voters : Leads(v)) => Settled
    /\ ~node[i].fetched
    /\ Timeout(i)

LiveVote(i, j) == Linked(i, j) /\ Vote(i, j, TRUE)
LiveBegin(i, j) == Linked(i, j) /\ Begin(i, j, TRUE)
LiveFetch(i, j) == Linked(i, j) /\ Fetch(i, j, TRUE)

\* Q2, once: it leads no longer and will not lead this epoch again.
CrashOnce(i) == proposed = 0 /\ node[i].role = "Leader" /\ node[i].epoch = 1 /\ Restart(i)

\* Q9: a leader that a majority cannot reach resigns.
CheckQuorum(i) ==
    /\ node[i].role = "Leader"
    /\ 2 * Cardinality({w \in Voters : w = i \/ (Linked(w, i) /\ node[w].epoch <= node[i].epoch)}) <= Cardinality(Voters)
    /\ Resign(i, {})

LiveNext ==
    \E i \in Voters :
        \/ LiveTimeout(i) \/ Propose(i) \/ CrashOnce(i) \/ CheckQuorum(i)
        \/ \E j \in Voters \ {i} : LiveVote(i, j) \/ LiveBegin(i, j) \/ LiveFetch(i, j)

LiveSpec ==
    /\ Init /\ [][LiveNext]_vars
    /\ \A i \in Voters :
        /\ SF_vars(LiveTimeout(i)) /\ WF_vars(Propose(i)) /\ WF_vars(CheckQuorum(i))
        /\ \A j \in Voters \ {i} :
            WF_vars(LiveVote(i, j)) /\ WF_vars(LiveBegin(i, j)) /\ WF_vars(LiveFetch(i, j))

-----------------------------------------------------------------------------
\* Somebody leads in the end, and no end comes of it.
LeaderIsElectedAndStays == <>[]Settled

\* What a leader has proposed is committed.
ProposedIsCommitted ==
    \A number \in 1..MaxRecords :
        (proposed >= number) ~> (\E k \in 1..Len(committed) : committed[k][2] = number)

\* Who leads with all that are linked in touch leads on, unless it crashes (KIP-996).
SettledStays == [][Settled => Settled' \/ \E i \in Voters : CrashOnce(i)]_vars
=============================================================================
