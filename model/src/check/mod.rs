//! Exhaustive checking with stateright: the models, their bounds, and the mutations they must catch.
