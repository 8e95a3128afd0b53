------------------------------ MODULE MCQuorum ------------------------------
(* How often what may happen is a constant of the cfg file each. *)
EXTENDS Quorum

CONSTANTS Epochs, Timeouts, Records, Crashes, Losses, Duplicates, Gone, Resigns, Snapshots,
          Changes, Wipes

MCLimit == [epoch |-> Epochs, timeouts |-> Timeouts, records |-> Records, crashes |-> Crashes,
          losses |-> Losses, duplicates |-> Duplicates, gone |-> Gone, resigns |-> Resigns,
          snapshots |-> Snapshots, changes |-> Changes, wipes |-> Wipes]
=============================================================================
