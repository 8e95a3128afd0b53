---------------------------- MODULE MCReplication ----------------------------
(* Three brokers with min.insync.replicas 2; the cfg files say what may go wrong. *)
EXTENDS Replication

CONSTANTS Appends, Fences, Silences, CleanStops, LossyStops

ThreeReplicas == <<1, 2, 3>>

MCBudget == [appends |-> Appends, fences |-> Fences, silences |-> Silences,
             cleanStops |-> CleanStops, lossyStops |-> LossyStops]
==============================================================================
