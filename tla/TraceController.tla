--------------------------- MODULE TraceController ---------------------------
(* Is what the controllers of a cluster did a behaviour of Controller? Each   *)
(* line of the trace (TraceLog, of the generated module TraceData) names an   *)
(* action, its parameters and, where it wrote to the metadata log, the image  *)
(* that came of it. There is one successor for each line, or none.            *)
(*                                                                            *)
(* What brokers do is seen only as far as controllers hear of it: that a      *)
(* process began, up to where it has replayed, what it asks for. Why it asks  *)
(* is the matter of its own trace, so the rules of joining are not judged.    *)
EXTENDS Controller, TraceData

VARIABLE line

Line == TraceLog[line]

Is(action) ==
    /\ line <= Len(TraceLog)
    /\ Line.action = action
    /\ line' = line + 1

Wrote == log'[Len(log')] = Line.image

Unlimited ==
    [what \in {"fences", "stops", "crashes", "shrinks", "reassigns", "cancels", "elections",
               "failovers", "removals", "settings"} |-> 1000000] @@ ("repeats" :> 0)

TraceInit ==
    /\ log = <<TraceImage>>
    /\ committed = 1
    /\ seen = [b \in Brokers |-> 1]
    /\ process = [b \in Brokers |->
            [NewProcess EXCEPT !.incarnation = TraceImage.registration[b].incarnation]]
    /\ alters = [b \in Brokers |-> NoAlter]
    /\ late = {}
    /\ shutdownAt = [b \in Brokers |-> 0]
    /\ complete = Brokers
    /\ left = Unlimited
    /\ line = 1

(* However the process before ended; Crash or Exit, then Start.               *)
Began(b, clean) ==
    /\ process' = [process EXCEPT ![b] =
            [up |-> TRUE, incarnation |-> @.incarnation + 1, clean |-> clean, stopping |-> FALSE]]
    /\ alters' = [alters EXCEPT ![b] = NoAlter]
    /\ UNCHANGED <<log, committed, seen, shutdownAt, complete, left, late>>

Gone(b) ==
    /\ process' = [process EXCEPT ![b].up = FALSE]
    /\ UNCHANGED <<log, committed, seen, alters, shutdownAt, complete, left, late>>

Asked(b, asked, epoch) ==
    /\ alters' = [alters EXCEPT ![b] = [kind |-> "asked", epoch |-> epoch, asked |-> asked]]
    /\ UNCHANGED <<log, committed, seen, process, shutdownAt, complete, left, late>>

(* Refused, or granted without a change.                                      *)
Rejected(b) ==
    LET x == alters[b]
    IN /\ \/ x.epoch # Latest.registration[b].epoch
          \/ AlterError(Latest.partition, b, x.asked, Active(Latest), EpochsIn(Latest)) # ""
          \/ Change(Latest.partition, Altered(x.asked.isr, FALSE), Active(Latest))
                = Latest.partition
       /\ alters' = [alters EXCEPT ![b] = NoAlter]
       /\ UNCHANGED <<log, committed, seen, process, shutdownAt, complete, left, late>>

TraceNext ==
    \/ Is("Start") /\ Began(Line.broker, Line.clean)
    \/ Is("Gone") /\ Gone(Line.broker)
    \/ Is("Register") /\ Register(Line.broker) /\ Wrote
    \/ Is("Unregister") /\ Unregister(Line.broker) /\ Wrote
    \/ Is("Unfence") /\ Unfence(Line.broker) /\ Wrote
    \/ Is("Fence") /\ Fence(Line.broker) /\ Wrote
    \/ Is("WantStop") /\ WantStop(Line.broker)
    \/ Is("BeginShutdown") /\ BeginShutdown(Line.broker, TRUE) /\ Wrote
    \/ Is("FinishShutdown") /\ FinishShutdown(Line.broker) /\ Wrote
    \/ Is("Ask") /\ Asked(Line.broker, Line.asked, Line.epoch)
    \/ Is("Decide") /\ (Decide(Line.broker) \/ Refuse(Line.broker)) /\ Wrote
    \/ Is("Reject") /\ Rejected(Line.broker)
    \/ Is("Reassign") /\ Reassign(Line.target) /\ Wrote
    \/ Is("Cancel") /\ Cancel /\ Wrote
    \/ Is("Balance") /\ Balance /\ Wrote
    \/ Is("SetMinIsr") /\ SetMinIsr(Line.image.partition.minIsr) /\ Wrote
    \/ Is("Commit") /\ Commit
    \/ Is("FailOver") /\ FailOver /\ Len(log') = Line.kept
    \/ Is("Replay") /\ ReplayTo(Line.broker, Line.upTo)

TraceSpec == TraceInit /\ [][TraceNext]_<<line, vars>>

LatestIsSound == SoundPartition(Latest.partition) /\ Latest.partition.isr \subseteq Active(Latest)

(* Inverted: violated means that the trace was accepted to its end.           *)
Unfinished == line <= Len(TraceLog)
==============================================================================
