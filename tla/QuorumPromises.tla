--------------------------- MODULE QuorumPromises ---------------------------
(***************************************************************************)
(* What must hold of a quorum, by the names of                             *)
(* model/src/invariant/quorum.rs, and what must be remembered to tell.     *)
(***************************************************************************)
EXTENDS QuorumNode

VARIABLES
    node,      \* per id: the process
    led,       \* <<epoch, id>> of everybody who ever led
    committed  \* the longest prefix that anybody ever took for committed

\* What must never be forgotten, though nodes may forget it; `next` are nodes that have changed.
Remember(next) ==
    /\ led' = led \cup {<<n.epoch, n.id>> : n \in {m \in next : m.role = "Leader"}}
    /\ LET further == {n \in next : n.hw > Len(committed)}
       IN  committed' = IF further = {} THEN committed
                        ELSE LET most == CHOOSE n \in further : \A m \in further : n.hw >= m.hw
                             IN  SubSeq(most.log, 1, Min(most.hw, Len(most.log)))

-----------------------------------------------------------------------------
OneLeaderPerEpoch == \A a, b \in led : a[1] = b[1] => a = b

StartsWith(log, prefix) == Len(prefix) <= Len(log) /\ SubSeq(log, 1, Len(prefix)) = prefix

LogsMatch ==
    \A v, w \in Nodes : \A k \in 1..Min(Len(node[v].log), Len(node[w].log)) :
        node[v].log[k].epoch = node[w].log[k].epoch =>
            SubSeq(node[v].log, 1, k) = SubSeq(node[w].log, 1, k)

EpochsAscend ==
    \A v \in Nodes : LET log == node[v].log IN
        /\ \A k \in 1..(Len(log) - 1) : log[k].epoch <= log[k + 1].epoch
        /\ LastEpoch(log) <= node[v].epoch

LeaderIsComplete ==
    \A v \in Nodes :
        node[v].role = "Leader" /\ node[v].epoch >= LastEpoch(committed) =>
            StartsWith(node[v].log, committed)

CommittedNeverChanges ==
    \A v \in Nodes : LET n == node[v] known == Min(n.hw, Len(committed)) IN
        /\ n.hw <= Len(n.log)
        /\ SubSeq(n.log, 1, known) = SubSeq(committed, 1, known)

\* Q3: what a candidate's voters have, it has: the votes were given to this log.
VotersAreNotAhead ==
    \A v, w \in Nodes :
        /\ node[v].role = "Candidate" /\ node[w].epoch = node[v].epoch
        /\ node[w].vote = Key(node[v]) /\ node[w].leader = None
        => \/ LastEpoch(node[v].log) > LastEpoch(node[w].log)
           \/ /\ LastEpoch(node[v].log) = LastEpoch(node[w].log)
              /\ Len(node[v].log) >= Len(node[w].log)

\* Q11: the log begins where a snapshot of committed records ends.
SnapshotAtLogStart ==
    \A v \in Nodes : node[v].start <= node[v].hw /\ StartsWith(node[v].log, SubSeq(committed, 1, node[v].start))

\* Q12: one set that is not committed, at most, and one voter between two sets.
OneUncommittedVoterSet ==
    \A v \in Nodes : LET log == node[v].log IN
        Cardinality({k \in (Len(committed) + 1)..Len(log) : log[k].voters # {}}) <= 1

VoterSetsDifferByOne ==
    \A v \in Nodes : \A k \in 1..Len(node[v].log) : LET log == node[v].log IN
        log[k].voters # {} /\ VotersIn(SubSeq(log, 1, k - 1), node[v].bootstrap) # {} =>
            LET before == VotersIn(SubSeq(log, 1, k - 1), node[v].bootstrap)
            IN  Cardinality((before \ log[k].voters) \cup (log[k].voters \ before)) <= 1

\* The committed prefix of the whole quorum only grows.
CommittedGrows == [][StartsWith(committed', committed)]_committed
=============================================================================
