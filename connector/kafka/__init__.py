"""Everything that knows Kafka's client.

==================================  ==============================================================
The member of the group             `consumer`, and what it is made of: `assignments`, `positions`,
                                    `polling`, `backlog`, `commits`, `membership`
What is written                     `producer`, and on it `ledger` and `dead_letters`;
                                    `transactions` for replays
What is read outside the group      `reader` (a stretch of a partition), `topic_reader` (topics, for
                                    commands)
What is asked of the brokers        `cluster`; `managed_topics` keeps our own topics; `monitor`
                                    looks while the connector runs
How clients are made                `clients`, `properties`; `host` has the clock and the threads
A broker in memory                  `embedded`, for the demo and for tests
==================================  ==============================================================

Errors of ``confluent_kafka`` are translated here, by code, never by text.
"""
