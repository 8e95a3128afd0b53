-------------------------- MODULE MCQuorumAbstract --------------------------
(* Configurations: with everything that may happen (Spec), and aimed ones (AimedSpec). *)
EXTENDS QuorumAbstract

CONSTANTS
    Restarts,   \* whether nodes restart in AimedSpec
    Losses      \* whether answers get lost in it

\* The first to time out is node 1: which one it is makes no difference.
Untouched == \A v \in Voters : node[v].role = "Unattached" /\ node[v].epoch = 0

AimedNext ==
    \E i \in Voters :
        \/ (Untouched => i = 1) /\ Timeout(i)
        \/ Propose(i)
        \/ Restarts /\ Restart(i)
        \/ \E j \in Voters \ {i}, heard \in {TRUE, ~Losses} :
            Vote(i, j, heard) \/ Begin(i, j, heard) \/ Fetch(i, j, heard)

AimedSpec == Init /\ [][AimedNext]_vars

\* Nodes 1 and 2 stand in turn, each with the vote of 3, which hears of no records but by 2.
Duel ==
    /\ node[3].role \in {"Unattached", "Follower"} /\ node[3].leader # 1 /\ node[2].leader # 1
    /\ \A v \in {1, 2} : node[v].granted \subseteq {v, 3} /\ node[v].refused = {}

-----------------------------------------------------------------------------
(* Q3: logs are compared so that of every majority somebody can be elected by it. *)
MajorityCanElect ==
    \A some \in SUBSET Voters : 2 * Cardinality(some) > Cardinality(Voters) =>
        \E v \in some : \A w \in some : UpToDate(node[w], VoteRequest(node[v]))

\* Q4: who is in touch with the leader of its epoch helps nobody into another one: whoever gets a
\* pre-vote more, and may stand by it, gets it from somebody who is not.
LiveLeaderKeepsVoters == [][
    \A i \in Voters :
        LET n == node[i]
            InTouch(j) == /\ node[j].epoch = n.epoch
                          /\ node[j].role = "Leader" \/ node[j].fetched
        IN  /\ n.role = "Prospective"
            /\ node'[i].epoch > n.epoch \/ node'[i].granted \ n.granted # {}
            /\ node'[i].role \in {"Prospective", "Candidate", "Leader"}
            => \E j \in Voters \ (n.granted \cup n.refused) : ~InTouch(j)]_vars
=============================================================================
