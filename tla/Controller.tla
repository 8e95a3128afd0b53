------------------------------ MODULE Controller ------------------------------
(* The controller and its brokers around one partition: rules B1 to B5, K1, K2, *)
(* P3 to P8. The metadata log has a committed prefix; a controller that fails  *)
(* loses what it had not committed, and another one goes on from what is left. *)
(*                                                                            *)
(*   controller --append--> log --commit--> replay --> brokers                *)
(*       ^                                                |                   *)
(*       +--- registration, heartbeat, AlterPartition ----+                   *)
(*                                                                            *)
(* How a quorum comes to a committed prefix is Quorum's matter. An entry of   *)
(* the log is the image after one atomic batch, so that "image = fold" (K4)   *)
(* holds by construction, and its index stands for the batch's offset.        *)
(*                                                                            *)
(* Records are left to Replication. What matters of them here is who has      *)
(* everything that was acknowledged: `complete`. It shrinks to those who      *)
(* acknowledge, and grows by those who catch up with a complete leader.       *)
EXTENDS Partition

CONSTANTS
    Brokers,
    InitialReplicas,    \* the partition's replicas
    InitialIsr,         \* those of them that are in sync
    MinIsrs,            \* to which min.insync.replicas may be set
    Targets,            \* lists of replicas to which it may be reassigned
    Budget  \* [fences, stops, crashes, shrinks, reassigns, cancels, elections, failovers, removals,
            \*  settings, repeats]

VARIABLES
    log,        \* of images, the last one being the active controller's state
    committed,  \* length of the committed prefix
    seen,       \* by broker: up to where it has replayed the metadata
    process,    \* by broker: its process; see NewProcess
    alters,     \* by broker: the AlterPartition that it stands by (L3)
    late,       \* copies of questions, and refusals, that are still under way
    shutdownAt, \* by broker: end of the log when its controlled shutdown began, or 0
    complete,   \* the brokers that hold every acknowledged record
    left        \* the part of Budget that is not spent

vars == <<log, committed, seen, process, alters, late, shutdownAt, complete, left>>

Nobody == [incarnation |-> 0, epoch |-> 0, fenced |-> TRUE, stopping |-> FALSE]

NoAlter == [kind |-> "none"]

Latest == log[Len(log)]

Committed == log[committed]

(* B5 *)
Active(image) ==
    {b \in Brokers : /\ image.registration[b].incarnation > 0
                     /\ ~image.registration[b].fenced /\ ~image.registration[b].stopping}

EpochsIn(image) == [b \in Brokers |-> image.registration[b].epoch]

Spend(what) == left[what] > 0 /\ left' = [left EXCEPT ![what] = @ - 1]

Write(partition, registration) ==
    log' = Append(log, [partition |-> partition, registration |-> registration])

Registered(b, changed) == [Latest.registration EXCEPT ![b] = changed]

(* B4: the broker leaves, and its registration says so.                       *)
Leaving(b) ==
    IF b \in Latest.partition.isr THEN Change(Latest.partition, Left(b), Active(Latest))
    ELSE Latest.partition

(******************************* a broker's part *****************************)

(* K1: a broker hears of its registration once that is committed.             *)
Knows(b) ==
    /\ process[b].up
    /\ Committed.registration[b].incarnation = process[b].incarnation

(* It acts on no metadata that are older than its registration.               *)
Acts(b) ==
    /\ Knows(b)
    /\ seen[b] >= Committed.registration[b].epoch \/ ~Holds("view-without-registration")

View(b) == log[seen[b]]

LeadsIn(b) == Acts(b) /\ View(b).partition.leader = b

(* f fetches from l in l's leader epoch.                                      *)
FollowsIn(f, l) ==
    /\ Acts(f) /\ f # l
    /\ View(f).partition.leader = l
    /\ View(f).partition.leaderEpoch = View(l).partition.leaderEpoch

(* The request comes from this process and from what it knows now.            *)
Heard(b) == Knows(b) /\ Latest.registration[b].incarnation = process[b].incarnation

(******************************** registration *******************************)

(* B1, L6: a new incarnation. Whatever the old one was to the partition, the  *)
(* new one is not; after an unclean stop it may have lost what was not        *)
(* flushed. Its epoch is the offset of its registration.                      *)
Register(b) ==
    LET p       == Latest.partition
        depends == b \in p.isr \cup p.elr \cup p.lastKnown /\ Holds("restart-keeps-isr")
        cause   == IF process[b].clean THEN Left(b) ELSE LostTail(b)
    IN /\ process[b].up
       /\ Latest.registration[b].incarnation # process[b].incarnation
       /\ Write(IF depends THEN Change(p, cause, Active(Latest)) ELSE p,
                Registered(b, [incarnation |-> process[b].incarnation,
                               epoch |-> Len(log) + 1, fenced |-> TRUE, stopping |-> FALSE]))
       /\ shutdownAt' = [shutdownAt EXCEPT ![b] = 0]
       /\ UNCHANGED <<committed, seen, process, alters, complete, left, late>>

(* B4: it leaves the ISR and the ELR, then it is gone.                        *)
Unregister(b) ==
    LET p       == Latest.partition
        depends == b \in p.isr \cup p.elr \cup p.lastKnown /\ Holds("unregister-keeps-isr")
    IN /\ Spend("removals")
       /\ ~process[b].up /\ Latest.registration[b].incarnation > 0
       /\ Write(IF depends THEN Change(p, LostLog(b), Active(Latest)) ELSE p,
                Registered(b, Nobody))
       /\ UNCHANGED <<committed, seen, process, alters, shutdownAt, complete, late>>

(********************************* heartbeats ********************************)

(* B2, fenced and wants to run: it is unfenced once it has replayed its own   *)
(* registration. B4: the registration first, then an election if nobody leads. *)
Unfence(b) ==
    LET p == Latest.partition
        r == Latest.registration[b]
    IN /\ Heard(b) /\ r.fenced /\ ~process[b].stopping
       /\ seen[b] >= r.epoch \/ ~Holds("unfence-at-once")
       /\ Write(IF p.leader = None /\ b \in Range(p.replicas)
                THEN Change(p, Elect("online"), Active(Latest) \cup {b}) ELSE p,
                Registered(b, [r EXCEPT !.fenced = FALSE, !.stopping = FALSE]))
       /\ UNCHANGED <<committed, seen, process, alters, shutdownAt, complete, left, late>>

(* B3: one silent broker is fenced. Of two at once, decided on by one image,  *)
(* the second decision would undo the first.                                  *)
FenceTwo(b, other) ==
    LET fenced(r) == [r EXCEPT !.fenced = TRUE]
        r         == Latest.registration
    IN /\ ~Holds("fence-two-at-once")
       /\ Spend("fences")
       /\ b # other /\ ~r[b].fenced /\ ~r[other].fenced
       /\ Write(Leaving(other), [r EXCEPT ![b] = fenced(@), ![other] = fenced(@)])
       /\ UNCHANGED <<committed, seen, process, alters, shutdownAt, complete, late>>

Fence(b) ==
    LET r == Latest.registration[b]
    IN /\ Spend("fences")
       /\ ~r.fenced
       /\ Write(Leaving(b), Registered(b, [r EXCEPT !.fenced = TRUE]))
       /\ UNCHANGED <<committed, seen, process, alters, shutdownAt, complete, late>>

(* B2, wants to stop and leads: controlled shutdown. The flag, then leaders   *)
(* move and the ISR shrinks; again as long as there is anything to do. (It    *)
(* may lead other partitions than this one.)                                  *)
BeginShutdown(b, leadsMore) ==
    LET r == Latest.registration[b]
        moves == b \in Latest.partition.isr
    IN /\ Heard(b) /\ process[b].stopping /\ ~r.fenced
       /\ IF r.stopping THEN moves ELSE leadsMore \/ Latest.partition.leader = b
       /\ Write(IF Holds("stopping-stays-in-isr") THEN Leaving(b) ELSE Latest.partition,
                Registered(b, [r EXCEPT !.stopping = TRUE]))
       /\ shutdownAt' = [shutdownAt EXCEPT ![b] = Len(log) + 1]
       /\ UNCHANGED <<committed, seen, process, alters, complete, left, late>>

(* B2: nobody needs it any more: it leads nothing, and if it did, every       *)
(* active broker has replayed who leads instead. It is fenced and may exit.   *)
FinishShutdown(b) ==
    LET r == Latest.registration[b]
    IN /\ Heard(b) /\ process[b].stopping /\ ~r.fenced
       /\ Latest.partition.leader # b
       /\ r.stopping => /\ shutdownAt[b] > 0
                        /\ \A other \in Active(Latest) : seen[other] >= shutdownAt[b]
       /\ Write(Leaving(b), Registered(b, [r EXCEPT !.fenced = TRUE]))
       /\ UNCHANGED <<committed, seen, process, alters, shutdownAt, complete, left, late>>

(******************************** the partition ******************************)

(* P3, P4. The leader hears of it by the metadata; asked again, it would be   *)
(* refused.                                                                   *)
Grant(b, x) ==
    LET p == Latest.partition
        after == Change(p, Altered(x.asked.isr, FALSE), Active(Latest))
    IN /\ x.epoch = Latest.registration[b].epoch
       /\ AlterError(p, b, x.asked, Active(Latest), EpochsIn(Latest)) = ""
       /\ after # p
       /\ Write(after, Latest.registration)
       /\ UNCHANGED <<committed, seen, process, alters, shutdownAt, complete>>

Decide(b) ==
    /\ alters[b].kind = "asked" /\ Grant(b, alters[b])
    /\ UNCHANGED <<left, late>>

(* A question goes to the next controller, or once more to the same one, and  *)
(* the copy comes late.                                                       *)
Repeat(b) ==
    LET x == alters[b]
    IN /\ x.kind = "asked" /\ Spend("repeats")
       /\ late' = late \cup {[kind |-> "question", sender |-> b, epoch |-> x.epoch, asked |-> x.asked]}
       /\ UNCHANGED <<log, committed, seen, process, alters, shutdownAt, complete>>

DecideLate(m) ==
    /\ m.kind = "question" /\ Grant(m.sender, m)
    /\ late' = late \ {m}
    /\ UNCHANGED left

(* L3: the leader rolls its proposal back when it hears of the refusal, which *)
(* by the new partition epoch is no later than it hears of anything after it; *)
(* or by the answer, which may come before that or long after (RollBack).     *)
Refuse(b) ==
    LET x     == alters[b]
        p     == Latest.partition
        error == AlterError(p, b, x.asked, Active(Latest), EpochsIn(Latest))
        answer == [kind |-> "refusal", sender |-> b, at |-> Len(log) + 1,
                   leaderEpoch |-> x.asked.leaderEpoch, partitionEpoch |-> x.asked.partitionEpoch]
    IN /\ x.kind = "asked" /\ x.epoch = Latest.registration[b].epoch
       /\ IF Holds("refuse-without-trace")
          THEN /\ Refusal(p, error) # p
               /\ Write(Refusal(p, error), Latest.registration)
               /\ \/ UNCHANGED <<late, left>>
                  \/ Spend("repeats") /\ late' = late \cup {answer}
               /\ UNCHANGED alters
          ELSE /\ error = "INELIGIBLE_REPLICA"
               /\ alters' = [alters EXCEPT ![b] = NoAlter]
               /\ UNCHANGED <<log, late, left>>
       /\ UNCHANGED <<committed, seen, process, shutdownAt, complete>>

(* K1: it was sent once the refusal was committed. It counts if it answers    *)
(* this question.                                                             *)
RollBack(m) ==
    LET x == alters[m.sender]
        current == \/ ~Holds("stale-alter-partition")
                   \/ /\ m.leaderEpoch = x.asked.leaderEpoch
                      /\ m.partitionEpoch = x.asked.partitionEpoch
    IN /\ m.kind = "refusal"
       /\ m.at <= committed \/ ~Holds("reply-before-commit")
       /\ late' = late \ {m}
       /\ alters' = IF x.kind = "asked" /\ current THEN [alters EXCEPT ![m.sender] = NoAlter] ELSE alters
       /\ UNCHANGED <<log, committed, seen, process, shutdownAt, complete, left>>

(* L3: what the leader goes by. No answer puts an ISR in force, only its      *)
(* record does; a leader that took the answer would run ahead of what stands  *)
(* before that record.                                                        *)
InForce(b) ==
    IF alters[b].kind # "granted" THEN View(b).partition
    ELSE [View(b).partition EXCEPT !.isr = alters[b].asked.isr, !.partitionEpoch = @ + 1]

TakeGrant(b) ==
    LET x == alters[b]
    IN /\ ~Holds("grant-before-record") /\ x.kind = "asked" /\ LeadsIn(b)
       /\ \E i \in (seen[b] + 1)..committed :
            /\ log[i].partition.partitionEpoch = x.asked.partitionEpoch + 1
            /\ log[i].partition.leaderEpoch = x.asked.leaderEpoch
            /\ log[i].partition.isr = x.asked.isr
       /\ alters' = [alters EXCEPT ![b].kind = "granted"]
       /\ UNCHANGED <<log, committed, seen, process, late, shutdownAt, complete, left>>

(* P7 *)
Reassign(target) ==
    LET p == Latest.partition
    IN /\ Spend("reassigns")
       /\ target # p.replicas
       /\ \A b \in Range(target) : Latest.registration[b].incarnation > 0
       /\ MayReassign(p, target)
       /\ Write(Change(p, Reassigned(target), Active(Latest)), Latest.registration)
       /\ UNCHANGED <<committed, seen, process, alters, shutdownAt, complete, late>>

Cancel ==
    LET p == Latest.partition
    IN /\ Spend("cancels")
       /\ MayCancel(p)
       /\ Write(Change(p, Cancelled, Active(Latest)), Latest.registration)
       /\ UNCHANGED <<committed, seen, process, alters, shutdownAt, complete, late>>

(* P6. The topic's min.insync.replicas.                                       *)
SetMinIsr(minIsr) ==
    LET p == Latest.partition
    IN /\ Spend("settings")
       /\ minIsr # p.minIsr
       /\ Write(WithMinIsr(p, minIsr, Active(Latest)), Latest.registration)
       /\ UNCHANGED <<committed, seen, process, alters, shutdownAt, complete, late>>

(* P8 *)
Balance ==
    LET p == Latest.partition
    IN /\ Spend("elections")
       /\ p.leader \notin {None, p.replicas[1]}
       /\ p.replicas[1] \in Active(Latest)
       /\ p.replicas[1] \in p.isr \/ ~Holds("preferred-from-anywhere")
       /\ Write(Change(p, Elect("preferred"), Active(Latest)), Latest.registration)
       /\ UNCHANGED <<committed, seen, process, alters, shutdownAt, complete, late>>

(****************************** the metadata log *****************************)

Commit ==
    /\ committed < Len(log)
    /\ committed' = committed + 1
    /\ UNCHANGED <<log, seen, process, alters, shutdownAt, complete, left, late>>

(* K2: another controller, whose state is the committed one and what else of  *)
(* the log has survived. It knows of no shutdown when it began.               *)
FailOver ==
    /\ Spend("failovers")
    /\ \E kept \in committed..Len(log) : log' = SubSeq(log, 1, kept)
    /\ shutdownAt' = [b \in Brokers |->
            IF log'[Len(log')].registration[b].stopping THEN Len(log') ELSE 0]
    /\ late' = {m \in late : \/ m.kind = "question" \/ m.at <= Len(log')
                             \/ ~Holds("reply-before-commit")}
    /\ UNCHANGED <<committed, seen, process, alters, complete>>

(* A broker replays what is committed. L3: another partition epoch closes the *)
(* leader's question. Who is no replica any more deletes its log.             *)
ReplayTo(b, upTo) ==
    LET before == View(b).partition
        after  == log[upTo].partition
    IN /\ process[b].up /\ seen[b] < upTo /\ upTo <= committed
       /\ seen' = [seen EXCEPT ![b] = upTo]
       /\ alters' = IF before.partitionEpoch = after.partitionEpoch THEN alters
                    ELSE [alters EXCEPT ![b] = NoAlter]
       /\ complete' = IF b \in Range(after.replicas) THEN complete ELSE complete \ {b}
       /\ UNCHANGED <<log, committed, process, shutdownAt, left, late>>

(* To have replayed less is to have replayed it earlier and done nothing since. *)
Replay(b) == ReplayTo(b, committed)

(********************************** records **********************************)

(* L1: f holds all that the leader has, and is active under the registration  *)
(* by which it fetches; the leader asks for it.                               *)
AskToJoin(l, f) ==
    LET p == View(l).partition
        r == View(l).registration[f]
        isr == p.isr \cup {f}
        epoch(m) == View(l).registration[m].epoch
    IN /\ LeadsIn(l) /\ alters[l] = NoAlter
       /\ f \in Range(p.replicas) \ p.isr
       /\ FollowsIn(f, l) /\ f \in complete
       /\ \/ r.incarnation = process[f].incarnation /\ f \in Active(View(l))
          \/ ~Holds("fenced-joins-isr")
       /\ alters' = [alters EXCEPT ![l] =
            [kind |-> "asked", epoch |-> View(l).registration[l].epoch,
             asked |-> [leaderEpoch |-> p.leaderEpoch, partitionEpoch |-> p.partitionEpoch,
                        isr |-> isr, epochs |-> [m \in isr |-> IF m \in {f, l} THEN epoch(m) ELSE -1]]]]
       /\ UNCHANGED <<log, committed, seen, process, shutdownAt, complete, left, late>>

(* A follower was behind for too long; or the leader has recovered (P5).      *)
AskToLeave(l, f) ==
    LET p == View(l).partition
        isr == p.isr \ {f}
    IN /\ LeadsIn(l) /\ alters[l] = NoAlter
       /\ IF f = l THEN p.recovering /\ UNCHANGED left ELSE f \in p.isr /\ Spend("shrinks")
       /\ alters' = [alters EXCEPT ![l] =
            [kind |-> "asked", epoch |-> View(l).registration[l].epoch,
             asked |-> [leaderEpoch |-> p.leaderEpoch, partitionEpoch |-> p.partitionEpoch,
                        isr |-> isr \cup {l}, epochs |-> [m \in isr \cup {l} |-> -1]]]]
       /\ UNCHANGED <<log, committed, seen, process, shutdownAt, complete, late>>

(* L4: f has fetched everything from a complete leader.                       *)
CatchUp(f, l) ==
    /\ LeadsIn(l) /\ FollowsIn(f, l)
    /\ f \in Range(View(l).partition.replicas)
    /\ l \in complete /\ f \notin complete
    /\ complete' = complete \cup {f}
    /\ UNCHANGED <<log, committed, seen, process, alters, shutdownAt, left, late>>

(* L2: acks=all. The whole maximal ISR has fetched the record in this epoch;  *)
(* others need not have it.                                                   *)
Acknowledge(l) ==
    LET p == InForce(l)
        maximal == IF alters[l].kind = "asked" /\ Holds("hw-over-committed-isr")
                   THEN p.isr \cup alters[l].asked.isr ELSE p.isr
    IN /\ LeadsIn(l)
       /\ \/ Cardinality(p.isr) >= EffectiveMinIsr(p)
          \/ ~Holds("hw-under-min-isr")
       /\ \A m \in maximal \ {l} : FollowsIn(m, l)
       /\ l \in complete /\ complete # maximal
       /\ complete' = maximal
       /\ UNCHANGED <<log, committed, seen, process, alters, shutdownAt, left, late>>

(********************************* processes *********************************)

WantStop(b) ==
    /\ Spend("stops")
    /\ process[b].up /\ ~process[b].stopping
    /\ process' = [process EXCEPT ![b].stopping = TRUE]
    /\ UNCHANGED <<log, committed, seen, alters, shutdownAt, complete, late>>

(* K1: it was told so once that was committed. Its log is whole and on disk.  *)
Exit(b) ==
    /\ process[b].up /\ process[b].stopping
    /\ Knows(b)
    /\ \/ Committed.registration[b].fenced
       \/ Committed.registration[b].stopping /\ ~Holds("stop-while-leading")
    /\ process' = [process EXCEPT ![b].up = FALSE, ![b].clean = TRUE]
    /\ UNCHANGED <<log, committed, seen, alters, shutdownAt, complete, left, late>>

(* Power fails: what was not flushed may be gone. The flag says so until the  *)
(* next clean stop.                                                           *)
Crash(b) ==
    /\ Spend("crashes")
    /\ process[b].up
    /\ process' = [process EXCEPT ![b].up = FALSE, ![b].clean = FALSE]
    /\ complete' \in {complete, complete \ {b}}
    /\ UNCHANGED <<log, committed, seen, alters, shutdownAt, late>>

Start(b) ==
    /\ ~process[b].up
    /\ process' = [process EXCEPT ![b].up = TRUE, ![b].stopping = FALSE,
                                  ![b].incarnation = @ + 1]
    /\ alters' = [alters EXCEPT ![b] = NoAlter]
    /\ UNCHANGED <<log, committed, seen, shutdownAt, complete, left, late>>

(********************************* behaviours ********************************)

NewProcess == [up |-> TRUE, incarnation |-> 1, clean |-> TRUE, stopping |-> FALSE]

(* Registrations from before the log have epochs below 0, and not -1, which   *)
(* is none at all (P3).                                                       *)
Init ==
    /\ log = <<[partition |-> NewPartition(InitialReplicas, InitialIsr),
                registration |-> [b \in Brokers |->
                    [incarnation |-> 1, epoch |-> -1 - b, fenced |-> FALSE, stopping |-> FALSE]]]>>
    /\ committed = 1
    /\ seen = [b \in Brokers |-> 1]
    /\ process = [b \in Brokers |-> NewProcess]
    /\ alters = [b \in Brokers |-> NoAlter]
    /\ late = {}
    /\ shutdownAt = [b \in Brokers |-> 0]
    /\ complete = InitialIsr
    /\ left = Budget

Next ==
    \/ Commit \/ FailOver \/ Cancel \/ Balance
    \/ \E target \in Targets : Reassign(target)
    \/ \E minIsr \in MinIsrs : SetMinIsr(minIsr)
    \/ \E m \in late : DecideLate(m) \/ RollBack(m)
    \/ \E b \in Brokers :
        \/ Register(b) \/ Unregister(b) \/ Unfence(b) \/ Fence(b)
        \/ BeginShutdown(b, FALSE) \/ FinishShutdown(b)
        \/ Decide(b) \/ Refuse(b) \/ Replay(b) \/ Acknowledge(b)
        \/ Repeat(b) \/ TakeGrant(b)
        \/ WantStop(b) \/ Exit(b) \/ Crash(b) \/ Start(b)
        \/ \E other \in Brokers :
            AskToJoin(b, other) \/ AskToLeave(b, other) \/ CatchUp(other, b) \/ FenceTwo(b, other)

Spec == Init /\ [][Next]_vars

(* When these actions can be taken; each of them changes something then.      *)
MayRegister(b) ==
    process[b].up /\ Latest.registration[b].incarnation # process[b].incarnation

MayUnfence(b) ==
    LET r == Latest.registration[b]
    IN Heard(b) /\ r.fenced /\ ~process[b].stopping /\ seen[b] >= r.epoch

MayBeginShutdown(b) ==
    LET r == Latest.registration[b]
    IN /\ Heard(b) /\ process[b].stopping /\ ~r.fenced
       /\ IF r.stopping THEN b \in Latest.partition.isr ELSE Latest.partition.leader = b

MayFinishShutdown(b) ==
    LET r == Latest.registration[b]
    IN /\ Heard(b) /\ process[b].stopping /\ ~r.fenced /\ Latest.partition.leader # b
       /\ r.stopping => /\ shutdownAt[b] > 0
                        /\ \A other \in Active(Latest) : seen[other] >= shutdownAt[b]

MayExit(b) ==
    process[b].up /\ process[b].stopping /\ Knows(b) /\ Committed.registration[b].fenced

MayDecide(b) ==
    LET x == alters[b]
        p == Latest.partition
    IN /\ x.kind = "asked"
       /\ x.epoch = Latest.registration[b].epoch
       /\ AlterError(p, b, x.asked, Active(Latest), EpochsIn(Latest)) = ""
       /\ Change(p, Altered(x.asked.isr, FALSE), Active(Latest)) # p

MayRefuse(b) ==
    /\ alters[b].kind = "asked" /\ alters[b].epoch = Latest.registration[b].epoch
    /\ AlterError(Latest.partition, b, alters[b].asked, Active(Latest), EpochsIn(Latest))
        = "INELIGIBLE_REPLICA"

MayAskToJoin(l) ==
    /\ LeadsIn(l) /\ alters[l] = NoAlter
    /\ \E f \in Range(View(l).partition.replicas) \ View(l).partition.isr :
        /\ FollowsIn(f, l) /\ f \in complete
        /\ View(l).registration[f].incarnation = process[f].incarnation
        /\ f \in Active(View(l))

MayCatchUp(f) ==
    \E l \in complete :
        /\ LeadsIn(l) /\ FollowsIn(f, l)
        /\ f \in Range(View(l).partition.replicas) /\ f \notin complete

(* Once the budget is spent nothing that has to happen is taken away again,   *)
(* but for one thing: who has caught up is behind at the next record. A       *)
(* leader asks for it at some time when it is caught up. Written out, and not *)
(* as WF and SF: TLC evaluates ENABLED of such actions without remembering    *)
(* anything.                                                                  *)
Fairness ==
    /\ []<>(committed = Len(log)) \/ []<><<Commit>>_vars
    /\ \A b \in Brokers :
        /\ []<>~MayRegister(b) \/ []<><<Register(b)>>_vars
        /\ []<>~MayUnfence(b) \/ []<><<Unfence(b)>>_vars
        /\ []<>~(process[b].up /\ seen[b] < committed) \/ []<><<Replay(b)>>_vars
        /\ []<>~MayBeginShutdown(b) \/ []<><<BeginShutdown(b, FALSE)>>_vars
        /\ []<>~MayFinishShutdown(b) \/ []<><<FinishShutdown(b)>>_vars
        /\ []<>~MayExit(b) \/ []<><<Exit(b)>>_vars
        /\ []<>process[b].up \/ []<><<Start(b)>>_vars
        /\ []<>~MayDecide(b) \/ []<><<Decide(b)>>_vars
        /\ []<>~MayRefuse(b) \/ []<><<Refuse(b)>>_vars
        /\ <>[]~MayAskToJoin(b) \/ []<><<\E f \in Brokers : AskToJoin(b, f)>>_vars
        /\ []<>~MayCatchUp(b) \/ []<><<\E l \in Brokers : CatchUp(b, l)>>_vars

FairSpec == Spec /\ Fairness

(* Nobody looks at what every broker has replayed.                            *)
Recent ==
    LET lowest == CHOOSE s \in {seen[b] : b \in Brokers} : \A b \in Brokers : s <= seen[b]
    IN <<[i \in DOMAIN log |-> IF i < lowest THEN <<>> ELSE log[i]],
         committed, seen, process, alters, late, shutdownAt, complete, left>>

(***************************** what must hold ********************************)

PartitionIsSound == \A i \in DOMAIN log : SoundPartition(log[i].partition)

(* B5, KIP-841; with the leader in the ISR, of leaders as well.               *)
IsrIsActive == \A i \in DOMAIN log : log[i].partition.isr \subseteq Active(log[i])

BrokerEpochsAreUnique ==
    \A a, b \in Brokers : a # b /\ Latest.registration[a].incarnation > 0
        => Latest.registration[a].epoch # Latest.registration[b].epoch

(* Who may be elected, with the process that is registered, holds every       *)
(* acknowledged record. Another process loses its place when it registers.    *)
ElectableIsComplete ==
    \A b \in ElectableSet(Latest.partition) :
        /\ process[b].up /\ Latest.registration[b].incarnation = process[b].incarnation
        => b \in complete

(* A leader per leader epoch, ever.                                           *)
LeaderEpochNamesLeader ==
    \A i \in DOMAIN log : i > 1 =>
        LET was == log[i - 1].partition
            is  == log[i].partition
        IN is.leader # was.leader => is.leaderEpoch > was.leaderEpoch

CommittedStands ==
    [][/\ committed' >= committed
       /\ SubSeq(log', 1, committed) = SubSeq(log, 1, committed)]_vars

(* P6, unless somebody lost something: a new incarnation or a removal.        *)
ElrIsKept ==
    [][Len(log') > Len(log) =>
        LET was == Latest
            is  == log'[Len(log')]
            lossy == {b \in Brokers :
                        was.registration[b].incarnation # is.registration[b].incarnation}
        IN ElrKept(was.partition, is.partition, lossy)]_log

(* P7: a reassignment that ends has enough members in the ISR.                *)
ReassignmentsKeepMinIsr ==
    [][Len(log') > Len(log) =>
        LET was == Latest.partition
            is  == log'[Len(log')].partition
            done == Reassigning(was) /\ ~Reassigning(is) /\ was.adding \subseteq Range(is.replicas)
        IN done => Cardinality(is.isr) >= EffectiveMinIsr(is)]_log

(* P7: nor do replicas go that were being added, unless enough others hold    *)
(* everything.                                                                *)
CancellationsKeepMinIsr ==
    [][Len(log') > Len(log) =>
        LET was     == Latest.partition
            is      == log'[Len(log')].partition
            dropped == was.adding \ Range(is.replicas)
            holders == was.isr \cup was.elr
            rest    == Len(Without(was.replicas, dropped))
        IN dropped \cap holders # {} /\ ~Unclean =>
            Cardinality(holders \ dropped) >= Effective(was.minIsr, rest)]_log

(* B2: who is told to stop is fenced, and leads nothing.                      *)
StoppedLeadsNothing ==
    [][\A b \in Brokers :
        process[b].up /\ ~process'[b].up /\ process'[b].clean =>
            Committed.registration[b].fenced /\ Committed.partition.leader # b]_process

(******************************* what must come ******************************)

(* Fenced -> unfenced, unless the broker wants to stop.                       *)
UnfencedInTheEnd ==
    \A b \in Brokers :
        Latest.registration[b].fenced ~>
            (process[b].stopping \/ ~Latest.registration[b].fenced)

ReassignmentEnds == Reassigning(Latest.partition) ~> ~Reassigning(Latest.partition)

ShutdownEnds == \A b \in Brokers : process[b].stopping ~> ~process[b].up

MetadataConverge == <>[](\A b \in Brokers : seen[b] = Len(log))
==============================================================================
