//! The shape of every request that is served, in the versions that are served.

use crate::kafka::schema::{Field, Schema, bytes, fixed, optional, structs, text, uuid, values};

/// What the fields below are called in Kafka's schemas stands behind them.
const I8: Field = fixed(1);
const I16: Field = fixed(2);
const I32: Field = fixed(4);
const I64: Field = fixed(8);
const BOOL: Field = fixed(1);

const INDEXES: Field = values(&I32);
/// Topic name and partition indexes.
const TOPIC_INDEXES: Field = structs(&[text(), INDEXES]);

pub const API_VERSIONS: Schema =
    Schema { flexible_from: 3, fields: &[text().since(3), text().since(3)] };

pub const METADATA: Schema = Schema {
    flexible_from: 9,
    fields: &[
        structs(&[uuid().since(10), text()]),
        BOOL.since(4),           // allowAutoTopicCreation
        BOOL.since(8).until(10), // includeClusterAuthorizedOperations
        BOOL.since(8),           // includeTopicAuthorizedOperations
    ],
};

pub const PRODUCE: Schema = Schema {
    flexible_from: 9,
    fields: &[
        text(), // transactionalId
        I16,    // acks
        I32,    // timeoutMs
        structs(&[text(), structs(&[I32, bytes()])]),
    ],
};

pub const FETCH: Schema = Schema {
    flexible_from: 12,
    fields: &[
        I32,          // replicaId
        I32,          // maxWaitMs
        I32,          // minBytes
        I32,          // maxBytes
        I8,           // isolationLevel
        I32.since(7), // sessionId
        I32.since(7), // sessionEpoch
        structs(&[
            text(),
            structs(&[
                I32,           // partition
                I32.since(9),  // currentLeaderEpoch
                I64,           // fetchOffset
                I32.since(12), // lastFetchedEpoch
                I64.since(5),  // logStartOffset
                I32,           // partitionMaxBytes
            ]),
        ]),
        TOPIC_INDEXES.since(7), // forgottenTopicsData
        text().since(11),       // rackId
    ],
};

pub const LIST_OFFSETS: Schema = Schema {
    flexible_from: 6,
    fields: &[
        I32,         // replicaId
        I8.since(2), // isolationLevel
        // partitionIndex, currentLeaderEpoch, timestamp
        structs(&[text(), structs(&[I32, I32.since(4), I64])]),
    ],
};

pub const INIT_PRODUCER_ID: Schema = Schema {
    flexible_from: 2,
    // transactionalId, transactionTimeoutMs, producerId, producerEpoch
    fields: &[text(), I32, I64.since(3), I16.since(3)],
};

pub const OFFSET_FOR_LEADER_EPOCH: Schema = Schema {
    flexible_from: 4,
    // replicaId; partition, currentLeaderEpoch, leaderEpoch
    fields: &[I32.since(3), structs(&[text(), structs(&[I32, I32, I32])])],
};

pub const CREATE_TOPICS: Schema = Schema {
    flexible_from: 5,
    fields: &[
        structs(&[
            text(),
            I32,                        // numPartitions
            I16,                        // replicationFactor
            structs(&[I32, INDEXES]),   // assignments
            structs(&[text(), text()]), // configs
        ]),
        I32,  // timeoutMs
        BOOL, // validateOnly
    ],
};

pub const DELETE_TOPICS: Schema = Schema {
    flexible_from: 4,
    fields: &[structs(&[text(), uuid()]).since(6), values(&text()).until(5), I32],
};

pub const DELETE_RECORDS: Schema =
    Schema { flexible_from: 2, fields: &[structs(&[text(), structs(&[I32, I64])]), I32] };

pub const CREATE_PARTITIONS: Schema = Schema {
    flexible_from: 2,
    // name, count, assignments; timeoutMs, validateOnly
    fields: &[structs(&[text(), I32, structs(&[INDEXES])]), I32, BOOL],
};

pub const DESCRIBE_CONFIGS: Schema = Schema {
    flexible_from: 4,
    // resourceType, resourceName, configurationKeys; includeSynonyms, includeDocumentation
    fields: &[structs(&[I8, text(), values(&text())]), BOOL, BOOL.since(3)],
};

pub const ALTER_CONFIGS: Schema = Schema {
    flexible_from: 2,
    fields: &[structs(&[I8, text(), structs(&[text(), text()])]), BOOL],
};

pub const INCREMENTAL_ALTER_CONFIGS: Schema = Schema {
    flexible_from: 1,
    fields: &[structs(&[I8, text(), structs(&[text(), I8, text()])]), BOOL],
};

pub const DESCRIBE_LOG_DIRS: Schema = Schema { flexible_from: 2, fields: &[TOPIC_INDEXES] };

pub const ELECT_LEADERS: Schema =
    Schema { flexible_from: 2, fields: &[I8.since(1), TOPIC_INDEXES, I32] };

pub const ALTER_PARTITION_REASSIGNMENTS: Schema = Schema {
    flexible_from: 0,
    // timeoutMs, allowReplicationFactorChange; partitionIndex, replicas
    fields: &[I32, BOOL.since(1), structs(&[text(), structs(&[I32, INDEXES])])],
};

pub const LIST_PARTITION_REASSIGNMENTS: Schema =
    Schema { flexible_from: 0, fields: &[I32, TOPIC_INDEXES] };

pub const DESCRIBE_QUORUM: Schema =
    Schema { flexible_from: 0, fields: &[structs(&[text(), structs(&[I32])])] };

pub const DESCRIBE_CLUSTER: Schema = Schema {
    flexible_from: 0,
    // includeClusterAuthorizedOperations, endpointType, includeFencedBrokers
    fields: &[BOOL, I8.since(1), BOOL.since(2)],
};

pub const UNREGISTER_BROKER: Schema = Schema { flexible_from: 0, fields: &[I32] };

pub const DESCRIBE_TOPIC_PARTITIONS: Schema = Schema {
    flexible_from: 0,
    // names, responsePartitionLimit, cursor
    fields: &[structs(&[text()]), I32, optional(&[text(), I32])],
};

pub const ADD_RAFT_VOTER: Schema = Schema {
    flexible_from: 0,
    // clusterId, timeoutMs, voterId, voterDirectoryId, listeners: name, host, port
    fields: &[text(), I32, I32, uuid(), structs(&[text(), text(), I16])],
};

pub const REMOVE_RAFT_VOTER: Schema = Schema {
    flexible_from: 0,
    // clusterId, voterId, voterDirectoryId
    fields: &[text(), I32, uuid()],
};
