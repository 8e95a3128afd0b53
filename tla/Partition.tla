------------------------------ MODULE Partition ------------------------------
(* The controller's record of one partition, and what each event makes of it: *)
(* rules P2 to P7. Pure operators; Replication and Controller give them state. *)
(*                                                                            *)
(*   cause -> Entered -> Finished -> WithElr -> Elected -> Remembered -> Merged *)
(*            (what     (P7)        (P6)       (P5)       (P6)         (P2)    *)
(*            happened)                                                        *)
(*                                                                            *)
(* The order is P4's: a reassignment that is complete is finished first, so   *)
(* that nobody who is no replica any more is counted or elected after it.     *)
EXTENDS Integers, Sequences, FiniteSets

CONSTANTS
    MinIsr,     \* min.insync.replicas as configured at first
    Unclean,    \* unclean.leader.election.enable
    Mutation    \* the guard that is taken out, or "none"

Holds(guard) == Mutation # guard

None == 0       \* no broker; brokers are 1, 2, 3, ...

Range(seq) == {seq[i] : i \in DOMAIN seq}

Without(seq, out) == SelectSeq(seq, LAMBDA x : x \notin out)

(* The first member of a list of which P holds, or None.                      *)
First(seq, P(_)) ==
    LET found == {i \in DOMAIN seq : P(seq[i])}
    IN IF found = {} THEN None
       ELSE seq[CHOOSE i \in found : \A j \in found : i <= j]

Smaller(a, b) == IF a < b THEN a ELSE b

Larger(a, b) == IF a < b THEN b ELSE a

(* A partition's registration: replicas is a list in order of preference,     *)
(* the others are sets. lastKnown holds one broker at most. The topic's       *)
(* min.insync.replicas stands in the same metadata, and changes in its place. *)
NewPartition(replicas, isr) ==
    [replicas |-> replicas, isr |-> isr, elr |-> {}, lastKnown |-> {},
     adding |-> {}, removing |-> {},
     leader |-> First(replicas, LAMBDA r : r \in isr),
     recovering |-> FALSE, leaderEpoch |-> 0, partitionEpoch |-> 0, minIsr |-> MinIsr]

Reassigning(p) == p.adding \cup p.removing # {}

(* P7, L2: the one effective min.insync.replicas of controller and broker.    *)
Effective(minIsr, replicaCount) == Smaller(Larger(minIsr, 1), Larger(replicaCount, 1))

EffectiveMinIsr(p) == Effective(p.minIsr, Len(p.replicas))

(* Mutated, the controller takes the replica count of another partition, as   *)
(* Kafka does: of one with a single replica, or of one with at least as many  *)
(* as configured. The latter is what lets a removed replica stay in the ELR   *)
(* of a partition that has fewer replicas now.                                *)
ControllerMinIsr(p) ==
    IF ~Holds("two-min-isrs") THEN 1
    ELSE IF ~Holds("elr-outside-replicas") THEN Larger(p.minIsr, 1)
    ELSE EffectiveMinIsr(p)

(****************************** what happened ********************************)

Altered(isr, recovering) == [kind |-> "altered", isr |-> isr, recovering |-> recovering]

(* Fenced or stopping: it leaves the ISR, but holds what it held.             *)
Left(b) == [kind |-> "left", broker |-> b]

(* B1, L6: came back from an unclean stop; what was not flushed may be gone.  *)
LostTail(b) == [kind |-> "lost-tail", broker |-> b]

(* Another disk, or no such broker any more.                                  *)
LostLog(b) == [kind |-> "lost-log", broker |-> b]

(* kind is "online", "preferred" or "unclean" (P5).                           *)
Elect(kind) == [kind |-> "elect", election |-> kind]

Reassigned(target) == [kind |-> "reassigned", target |-> target]

Cancelled == [kind |-> "cancelled"]

Leaves(c) == IF c.kind \in {"left", "lost-tail", "lost-log"} THEN {c.broker} ELSE {}

Lossy(c) ==
    IF c.kind \in {"lost-tail", "lost-log"} /\ Holds("unclean-keeps-elr")
    THEN {c.broker} ELSE {}

(* P7: while it runs, the list is the target and then those that go. Those    *)
(* that an earlier reassignment was adding and this one does not want go now. *)
EnterTarget(p, target) ==
    LET original  == Without(p.replicas, p.adding)
        abandoned == p.adding \ Range(target)
        going     == Without(original, Range(target))
    IN [p EXCEPT !.replicas = target \o going,
                 !.isr      = @ \ abandoned,
                 !.removing = Range(going),
                 !.adding   = Range(target) \ Range(original)]

Entered(p, c) ==
    CASE c.kind = "altered" -> [p EXCEPT !.isr = c.isr, !.recovering = c.recovering]
      [] c.kind \in {"left", "lost-tail"} -> [p EXCEPT !.isr = @ \ {c.broker}]
      [] c.kind = "lost-log" ->
            [p EXCEPT !.isr = @ \ {c.broker}, !.lastKnown = @ \ {c.broker}]
      [] c.kind = "elect" -> p
      [] c.kind = "reassigned" -> EnterTarget(p, c.target)
      [] c.kind = "cancelled" ->
            [p EXCEPT !.replicas = Without(@, p.adding), !.isr = @ \ p.adding,
                      !.adding = {}, !.removing = {}]

(* P7: done when every target replica is in the ISR, which is never fewer     *)
(* than the effective min.insync.replicas of the target list. Kafka asks only *)
(* for those that were added, and completes below it (KAFKA-19975).           *)
Finished(p) ==
    LET target   == Without(p.replicas, p.removing)
        isr      == p.isr \ p.removing
        complete == IF Holds("reassign-below-min-isr")
                    THEN isr # {} /\ Range(target) \subseteq isr
                    ELSE isr # {} /\ p.adding \subseteq isr
    IN IF Reassigning(p) /\ complete
       THEN [p EXCEPT !.replicas = target, !.adding = {}, !.removing = {},
                      !.isr = IF Holds("removed-stays-in-isr") THEN isr ELSE @]
       ELSE p

ClearedElr(p) ==
    IF Cardinality(p.isr) >= ControllerMinIsr(p)
    THEN [p EXCEPT !.elr = {}, !.lastKnown = {}] ELSE p

(* P6: who leaves an ISR that becomes too small still holds all that was ever *)
(* committed, because nothing is committed until it is large enough again.    *)
(* Cut to the replicas: who is none deletes its log (kraft's stricter rule).  *)
(* `looks`: nothing happened but that somebody looks who should lead.         *)
WithElr(before, p, lossy, looks) ==
    LET holders == IF looks /\ ~Holds("election-wipes-elr") THEN {}
                   ELSE ((before.elr \cup before.isr) \ p.isr) \ lossy
        cut(set) == IF Holds("elr-outside-replicas")
                    THEN set \cap Range(p.replicas) ELSE set
    IN ClearedElr([p EXCEPT !.elr = cut(holders), !.lastKnown = cut(@)])

(* P5: alive, and in the ISR, or in the ELR when the ISR is empty.            *)
Electable(p, alive, r) ==
    /\ r \in Range(p.replicas) /\ r \in alive
    /\ \/ r \in p.isr
       \/ p.isr = {} /\ r \in p.elr
       \/ ~Holds("elect-any-replica")

(* P6: only when nobody else can, only alone in the list, and only alive.     *)
LastKnownLeader(p, alive) ==
    IF /\ p.isr = {} /\ p.elr = {} /\ Cardinality(p.lastKnown) = 1
       /\ (p.lastKnown \subseteq alive \/ ~Holds("elect-dead-last-leader"))
    THEN CHOOSE r \in p.lastKnown : TRUE ELSE None

CleanLeader(p, alive, r) ==
    IF r \in p.isr THEN [p EXCEPT !.leader = r]
    ELSE [p EXCEPT !.leader = r, !.isr = {r}, !.elr = @ \ {r}]

UncleanLeader(p, r) ==
    [p EXCEPT !.leader = r, !.isr = {r}, !.elr = {}, !.recovering = TRUE]

Elected(p, alive, election) ==
    LET may(r)    == Electable(p, alive, r)
        preferred == IF p.replicas = <<>> THEN None ELSE p.replicas[1]
        first     == First(p.replicas, may)
        lastKnown == LastKnownLeader(p, alive)
        anybody   == First(p.replicas, LAMBDA r : r \in alive)
    IN ClearedElr(
       CASE /\ election = "preferred"
            /\ may(preferred) \/ (~Holds("preferred-from-anywhere") /\ preferred \in alive) ->
                CleanLeader(p, alive, preferred)
         [] OTHER ->
            IF may(p.leader) THEN CleanLeader(p, alive, p.leader)
            ELSE IF first # None THEN CleanLeader(p, alive, first)
            ELSE IF lastKnown # None THEN UncleanLeader(p, lastKnown)
            ELSE IF election = "unclean" /\ anybody # None THEN UncleanLeader(p, anybody)
            ELSE [p EXCEPT !.leader = None])

(* P6: remembered once, when the ISR empties; forgotten when somebody leads.  *)
Remembered(before, p, c) ==
    IF p.leader # None THEN [p EXCEPT !.lastKnown = {}]
    ELSE IF /\ p.isr = {} /\ before.isr # {}
            /\ before.leader \in Range(p.replicas)
            /\ ~(c.kind = "lost-log" /\ c.broker = before.leader)
         THEN [p EXCEPT !.lastKnown = {before.leader}]
    ELSE p

(* P2: the partition epoch counts changes; the leader epoch grows when the    *)
(* leader changes or a replica left, so that those who still follow are fenced. *)
Merged(before, p) ==
    LET named == \/ before.leader # p.leader
                 \/ ~(Range(before.replicas) \subseteq Range(p.replicas))
                 \/ ~(before.isr \subseteq p.isr) /\ ~Holds("bump-on-shrink")
    IN IF p = before THEN before
       ELSE [p EXCEPT !.partitionEpoch = @ + 1,
                      !.leaderEpoch = IF named THEN @ + 1 ELSE @]

(* The partition after `c`, where `active` are the brokers that are           *)
(* registered, neither fenced nor stopping (B5).                              *)
Change(p, c, active) ==
    LET alive    == active \ Leaves(c)
        election == IF c.kind = "elect" /\ c.election # "online" THEN c.election
                    ELSE IF Unclean THEN "unclean" ELSE "online"
        entered  == Finished(Entered(p, c))
        elected  == Elected(WithElr(p, entered, Lossy(c), c.kind = "elect"), alive, election)
    IN Merged(p, Remembered(p, elected, c))

(* P6: where min.insync.replicas falls to what the ISR has, the leader may    *)
(* commit what the ELR does not hold. Everywhere else the ELR stays.          *)
WithMinIsr(p, minIsr, active) ==
    LET set == [p EXCEPT !.minIsr = minIsr]
    IN IF p.elr # {} /\ p.isr # {} /\ Holds("min-isr-keeps-elr")
       THEN Change(set, Elect("online"), active) ELSE set

(***************************** may it happen? ********************************)

(* P3 without the checks on the sender's registration: "" or the error. The   *)
(* first check that fails decides. `epochs` are the registrations that the    *)
(* leader saw its members fetch under, -1 where it saw none.                  *)
AlterError(p, sender, asked, active, epochOf) ==
    IF asked.leaderEpoch > p.leaderEpoch \/ asked.partitionEpoch > p.partitionEpoch
        THEN "NOT_CONTROLLER"
    ELSE IF asked.leaderEpoch < p.leaderEpoch THEN "FENCED_LEADER_EPOCH"
    ELSE IF sender # p.leader THEN "INVALID_REQUEST"
    ELSE IF asked.partitionEpoch < p.partitionEpoch /\ Holds("skip-partition-epoch")
        THEN "INVALID_UPDATE_VERSION"
    ELSE IF ~(asked.isr \subseteq Range(p.replicas)) \/ sender \notin asked.isr
        THEN "INVALID_REQUEST"
    ELSE IF \E m \in asked.isr :
                \/ asked.epochs[m] \notin {-1, epochOf[m]} /\ Holds("any-broker-epoch-joins")
                \/ m \notin active /\ Holds("fenced-joins-isr")
        THEN "INELIGIBLE_REPLICA"
    ELSE ""

(* P3: the refusal of an ineligible member is written down: it changes nothing *)
(* but the partition epoch, and so voids every copy of the proposal that is   *)
(* still on its way. Its sender no longer counts the member.                  *)
Refusal(p, error) ==
    IF error = "INELIGIBLE_REPLICA" /\ Holds("refuse-without-trace")
    THEN [p EXCEPT !.partitionEpoch = @ + 1] ELSE p

(* P7: replicas that were being added may be dropped only while enough others *)
(* hold everything, since a record may rest on them.                          *)
MayDrop(p, dropped) ==
    LET held == Cardinality(p.isr \ dropped) + Cardinality(p.elr \ dropped)
        rest == Len(Without(p.replicas, dropped))
    IN \/ held = Cardinality(p.isr) + Cardinality(p.elr)
       \/ Unclean
       \/ IF Holds("cancel-below-min-isr") THEN held >= Effective(p.minIsr, rest)
          ELSE p.isr \ dropped # {}

MayReassign(p, target) == MayDrop(p, p.adding \ Range(target))

MayCancel(p) == Reassigning(p) /\ MayDrop(p, p.adding)

(***************************** what must hold ********************************)

(* Whoever an election may choose without losing anything (P5).               *)
ElectableSet(p) == (IF p.isr = {} THEN p.elr ELSE p.isr) \cap Range(p.replicas)

(* P6: while the ISR is too small, who has left it is kept, unless it lost     *)
(* something or is no replica any more.                                       *)
ElrKept(before, p, lossy) ==
    Cardinality(p.isr) < EffectiveMinIsr(p) =>
        ((before.isr \cup before.elr) \cap Range(p.replicas)) \ lossy
            \subseteq p.isr \cup p.elr

SoundPartition(p) ==
    /\ p.isr \subseteq Range(p.replicas)
    /\ p.elr \subseteq Range(p.replicas)
    /\ p.isr \cap p.elr = {}
    /\ p.leader # None => p.leader \in p.isr
    /\ p.isr # {} => p.leader # None
    /\ p.lastKnown # {} => p.leader = None /\ p.lastKnown \subseteq Range(p.replicas)
    /\ p.recovering => Cardinality(p.isr) <= 1
    /\ p.adding \cup p.removing \subseteq Range(p.replicas)
    /\ p.adding \cap p.removing = {}
    /\ Cardinality(p.isr) >= EffectiveMinIsr(p) => p.elr = {}
==============================================================================
