-------------------------- MODULE MCQuorumReconfig --------------------------
EXTENDS QuorumReconfig

\* Nodes that are alike at the start: the first to lead is node 1.
FirstLeader == led = {} \/ \E l \in led : l[2] = 1
=============================================================================
