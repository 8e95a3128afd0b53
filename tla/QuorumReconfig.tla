--------------------------- MODULE QuorumReconfig ---------------------------
(***************************************************************************)
(* Voter changes (Q12, KIP-853) with all else made simple: an election is  *)
(* one step of a majority, a fetch with its answer is another, disks are   *)
(* quick.  So quorums of five and two changes are within reach.            *)
(***************************************************************************)
EXTENDS QuorumPromises

CONSTANTS
    Voters,    \* ids of the first voters; the other nodes begin as observers
    Epochs, Records, Changes, Wipes, Restarts  \* how often

VARIABLES spent

vars == <<node, led, committed, spent>>

Bootstrap == {<<v, 1>> : v \in Voters}

\* KIP-853: the first voters are formatted with a record that says who votes.
Formatted(i) ==
    LET n == NewNode(i, 1, Bootstrap)
    IN  IF i \in Voters THEN [n EXCEPT !.log = <<VotersRecord(0, Bootstrap)>>, !.flushed = 1, !.hw = 1]
        ELSE n

Init ==
    /\ node = [i \in Nodes |-> Formatted(i)]
    /\ led = {}
    /\ committed = <<VotersRecord(0, Bootstrap)>>
    /\ spent = [records |-> 0, changes |-> 0, wipes |-> 0, restarts |-> 0]

Spend(what, most) == spent[what] < most /\ spent' = [spent EXCEPT ![what] = @ + 1]

Set(next) == node' = next /\ Remember({next[i] : i \in Nodes})

\* Q3, Q5: i stands in epoch e, having lost those before, and everybody of `some`, a majority of the
\* voters that it knows, votes for it.  Pre-votes only keep elections from happening (Q4).
Elect(i, e, some) ==
    LET n == node[i]
        candidate == [Become(n, "Candidate", None) EXCEPT !.epoch = e, !.vote = Key(n)]
        request(key) == CHOOSE m \in VoteRequests(candidate) : m.voter = key
        answer(key) == OnVote(node[key[1]], request(key))
        voted == {key \in some : key[1] # i}
    IN  /\ IsVoter(n) /\ i \in Ids(some)
        /\ \A key \in voted : \A m \in answer(key).out : m.granted
        /\ Set([j \in Nodes |->
                CASE j = i -> Flushed(Lead(candidate).n)
                  [] j \in Ids(voted) -> answer(CHOOSE key \in voted : key[1] = j).n
                  [] OTHER -> node[j]])
        /\ UNCHANGED spent

\* Q6, Q7, Q8: i hears of the leader j and fetches once.
Fetch(i, j) ==
    LET n == Learn(node[i], node[j].epoch, j)
        r == OnFetch(node[j], FetchRequest(n, j))
        answer == CHOOSE m \in r.out : TRUE
    IN  /\ node[j].role = "Leader"
        /\ n.role = "Follower" /\ n.leader = j
        /\ Set([node EXCEPT ![i] = Flushed(On(n, answer).n), ![j] = r.n])
        /\ UNCHANGED spent

Propose(i) ==
    /\ Serves(node[i])
    /\ Spend("records", Records)
    /\ Set([node EXCEPT ![i] = Flushed(Append1(node[i], Data(node[i].epoch, spent.records + 1)))])

\* Q12.
Change(i, keys) ==
    /\ MayChangeVoters(node[i]) /\ keys # {}
    /\ Spend("changes", Changes)
    /\ Set([node EXCEPT ![i] = Flushed(ChangeVoters(node[i], keys))])

\* Q2.
Restart(i) ==
    /\ Spend("restarts", Restarts)
    /\ Set([node EXCEPT ![i] = Flushed(Restarted(node[i], Stored(node[i]), node[i].log, 0).n)])

\* Another disk: another directory, and nothing on it.
Wipe(i) ==
    /\ Spend("wipes", Wipes)
    /\ Set([node EXCEPT ![i] = NewNode(i, node[i].dir + 1, node[i].bootstrap)])

Next ==
    \E i \in Nodes :
        \/ \E some \in SUBSET VotersOf(node[i]), e \in (node[i].epoch + 1)..Epochs :
            Cardinality(some) = Majority(VotersOf(node[i])) /\ Elect(i, e, some)
        \/ \E j \in Nodes \ {i} :
            \/ Fetch(i, j)
            \/ j \notin Ids(VotersOf(node[i])) /\ Change(i, VotersOf(node[i]) \cup {Key(node[j])})
        \/ \E key \in VotersOf(node[i]) : Change(i, VotersOf(node[i]) \ {key})
        \/ Propose(i) \/ Restart(i) \/ Wipe(i)

Spec == Init /\ [][Next]_vars

\* Q7, Q12: on the disks of a majority of the voters: of those that are committed, or, which differ by
\* one at most, of those that somebody who has it all knows.
CommittedIsDurable ==
    LET IsDurable(keys) ==
            LET holders == {key \in keys : StartsWith(node[key[1]].log, committed)}
            IN  2 * Cardinality(holders) > Cardinality(keys)
    IN  \/ spent.wipes > 0
        \/ IsDurable(VotersIn(committed, Bootstrap))
        \/ \E i \in Nodes : StartsWith(node[i].log, committed) /\ IsDurable(VotersOf(node[i]))
=============================================================================
