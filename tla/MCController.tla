----------------------------- MODULE MCController -----------------------------
(* Three brokers, one partition; the cfg files say what happens to it.         *)
EXTENDS Controller

CONSTANTS Fences, Stops, Crashes, Shrinks, Reassigns, Cancels, Elections, FailOvers, Removals,
          Settings, Repeats

TwoOfThree == <<1, 2>>
AllThree == <<1, 2, 3>>

EveryReplica == Range(InitialReplicas)
FirstTwo == {1, 2}

(* Down to one, and elsewhere at the same size: kafka's lost records.          *)
MovingTargets == {<<3>>, <<3, 1>>, <<3, 2>>}

(* A partition with one replica stands no crash.                               *)
SameSizeTargets == {<<3, 1>>, <<2, 3>>}

MCBudget == [fences |-> Fences, stops |-> Stops, crashes |-> Crashes, shrinks |-> Shrinks,
             reassigns |-> Reassigns, cancels |-> Cancels, elections |-> Elections,
             failovers |-> FailOvers, removals |-> Removals, settings |-> Settings,
             repeats |-> Repeats]
==============================================================================
