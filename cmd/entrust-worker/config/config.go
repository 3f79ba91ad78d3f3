// Package config is the configuration of the worker: its keys, their defaults, where
// each value came from, and whether the values fit together. It alone knows about files,
// environment and flags; it hands plain values to the packages below.
package config

import "time"

// Config is everything that an operator can set. Each field says in its tags
//
//	koanf   its name in the YAML file
//	env     its environment name, where that is not ENTRUST_WORKER_ and the path
//	flag    its flag, where that is not the path with dashes
//	show    that shells complete the flag
//	empty   that an empty environment variable counts as set
//	secret  "value": the value is never printed; "file": it is the path of a secret
//	doc     effect, unit, bounds, and what speaks for less and for more
//
// docs/configuration.md is made from them. A field's default is its value in Default.
// A Config is a plain value; Settings knows where its values came from.
type Config struct {
	Gateway Gateway `koanf:"gateway"`
	NATS    NATS    `koanf:"nats"`
	Poll    Poll    `koanf:"poll"`
	Streams Streams `koanf:"streams"`
	Log     Log     `koanf:"log"`
	HTTP    HTTP    `koanf:"http"`
	Policy  Policy  `koanf:"policy"`
	Audit   Audit   `koanf:"audit"`

	IssueConcurrency  int           `koanf:"issue_concurrency" doc:"Enrollments that this worker may have at the gateway at once, 1 to 10000. A quarter more requests are in flight, so that the next one is ready when a call ends. Throughput is about this number divided by the gateway's latency. Too low: requests wait in the stream. Too high: more connections and calls than the gateway can serve."`
	RevokeConcurrency int           `koanf:"revoke_concurrency" doc:"Revocations that this worker may have at the gateway at once, 1 to 10000. This capacity is reserved: issue requests never use it."`
	PollConcurrency   int           `koanf:"poll_concurrency" doc:"Polls of parked orders that this worker may have at the gateway at once, 1 to 10000. Too low: polls are late when many orders are due at once. Too high: the gateway gets that many calls at once."`
	ManageConcurrency int           `koanf:"manage_concurrency" doc:"Calls for track and cancel requests that this worker may have at the gateway at once, 1 to 10000."`
	AckWait           time.Duration `koanf:"ack_wait" doc:"How long NATS waits for a sign of life from a worker before it gives a message to another worker, 1s to 1h, and above gateway.timeout. The worker extends it during longer calls. Too short: a slow network causes redeliveries. They cost reads, and no second enrollment. Too long: the messages of a killed worker wait that long. The consumers must have the same value: a worker with another value does not start. docs/configuration.md has the steps to change it."`
	Drain             time.Duration `koanf:"drain" doc:"How long a stopping worker waits for its calls in flight, 1ms to 24h. After that it cuts them off and hands unfinished messages back at once. Too short: enrollments lose their answer and must be looked up. Too long: the supervisor kills the worker first, and its messages wait for ack_wait. Keep it above the gateway's usual latency and below the stop timeout of your supervisor."`
	SubmitMaxWait     time.Duration `koanf:"submit_max_wait" doc:"How long an order may wait for the gateway to accept it, at least 1m and below streams.orders_max_age. Only waits after a refusal or a missing answer count. Waits for an open breaker, a pause, a suspension or the producer's quota do not. After it the order ends as failed, or as unconfirmed where an earlier submission may have been accepted. It bounds revocations and look-ups that get no answer too. Too short: orders fail although the gateway would accept them later. Too long: the producer learns late that its order cannot be accepted."`
	OnLostReply       string        `koanf:"on_lost_reply" doc:"What the worker does with an order when the answer to its enrollment was lost and the look-up proves nothing. hold: the worker ends the order as unconfirmed, with a dead letter. An operator decides; nothing is enrolled twice. resubmit: the worker enrolls again, at most twice in one generation, and sets possible_duplicate in the result. Wrong choice: with resubmit the gateway may issue two certificates for one order; with hold every such order needs an operator. After an answer that arrived but cannot be read, the worker never enrolls again."`
	OnRollback        string        `koanf:"on_rollback" doc:"NATS can lose its last writes, for example when the only replica loses power. This says what the worker then does with issue requests that may have been submitted before. lookup: it looks each one up and adopts the order that it finds. If it finds none, it enrolls again where gateway.approval is never, and holds the order otherwise. It also holds what cannot be looked up. hold: it ends each one as unconfirmed, with a dead letter, and makes no look-up. resubmit: it enrolls each one again without a look-up and sets possible_duplicate in the result. Wrong choice: with resubmit the gateway may issue two certificates for one order; with hold every such order needs an operator."`
	RollbackWindow    time.Duration `koanf:"rollback_window" doc:"Time after a worker noticed that NATS lost its last writes, 0s to 24h. NATS may have lost a request that was already submitted, and its producer may publish it again. So on_rollback decides about each new issue request of that time. Set at least sync_interval of the NATS servers, which is 2m by default. Too short: a request that was lost is enrolled twice, without the flag possible_duplicate. Too long: more new requests are looked up or held. 0s: every such request counts as new."`
	StateDir          string        `koanf:"state_dir" doc:"Directory in which the worker keeps, across its own restart, the last record that NATS acknowledged to it. With it the worker notices at its start that the bus lost its last writes while no worker ran. Workers may share it. Unset: the worker keeps nothing, and does not notice such a loss."`
	WatchdogEvery     time.Duration `koanf:"watchdog_every" doc:"Pause between two scans for orders that no wake-up will wake, 10s to 24h. A scan reads all wake-ups, and the records that were written since the last scan. It works a tenth of the time, so that it slows nothing down. Too short: more reads from NATS. Too long: an order whose wake-up was lost waits that much longer."`
	Provision         bool          `koanf:"provision" show:"true" doc:"Create missing streams, buckets and consumers at start. The worker never changes existing ones. Leave it off where the worker's NATS user may not create streams."`
	Replicas          int           `koanf:"replicas" doc:"Copies of each stream that provisioning creates, 1 to 5. With 1, a power cut can lose the last writes. Three copies survive the loss of a server and need a cluster of at least three servers. An existing stream keeps its number: entrust-worker check --json prints the nats command that changes it."`
	Format            int           `koanf:"format" flag:"record-format" doc:"Format of the records and wake-ups that this worker writes; only format 1 exists. Raise it when every worker of the fleet reads the new format."`
}

// Gateway says which CA Gateway to use and how.
type Gateway struct {
	URL             string        `koanf:"url" env:"CERTCTL_ENTRUST_API_URL" doc:"Base URL of the CA Gateway, https, with its context path if it has one. Required. The worker appends /v1 unless the path ends in it."`
	ClientCertPath  string        `koanf:"client_cert_path" env:"CERTCTL_ENTRUST_CLIENT_CERT_PATH" doc:"Path of the client certificate, PEM, with the intermediate certificates after it. Required unless gateway.client_p12_path is set. The worker looks at the files on every call: replace them to rotate."`
	ClientKeyPath   Secret        `koanf:"client_key_path" env:"CERTCTL_ENTRUST_CLIENT_KEY_PATH" secret:"file" doc:"Path of the client certificate's private key, PEM. Required beside gateway.client_cert_path."`
	KeyPasswordFile Secret        `koanf:"client_key_password_file" secret:"file" doc:"Path of a file that holds the password of an encrypted key: PKCS#8 with PBES2. A key that is not encrypted needs none."`
	ClientP12Path   Secret        `koanf:"client_p12_path" secret:"file" doc:"Path of a PKCS#12 file with client certificate and key, instead of the PEM pair."`
	P12PasswordFile Secret        `koanf:"client_p12_password_file" secret:"file" doc:"Path of a file that holds the password of the PKCS#12 file. Unset: the empty password."`
	CAID            string        `koanf:"ca_id" env:"CERTCTL_ENTRUST_CA_ID" doc:"Certificate authority for requests that name none, as in GET /certificate-authorities. Required."`
	ProfileID       string        `koanf:"profile_id" env:"CERTCTL_ENTRUST_PROFILE_ID" doc:"Enrollment profile for requests that name none. The cagw dialect needs one, here or in the request."`
	ProfileValidity Durations     `koanf:"profile_validity" doc:"How long certificates of a profile are valid when a request asks for no validity, by profile: a group such as {tls-server: 90d}, where d is days. In the environment and in a flag, write the same on one line. The worker compares max_validity_seconds of a request with it, and asks the gateway for a shorter validity only where the profile gives more. Unset: the worker goes by the last certificate of the profile. Before the first one it always asks."`
	Properties      Properties    `koanf:"properties" doc:"Properties of enrollments whose request names none, by CA and name: text, numbers, booleans, lists of these. A CA of Entrust Certificate Services needs tracking.requesterName and tracking.requesterEmail. A text may be a Go template over .producer, .id, .common_name, .subject_dn, .ca_id, .profile_id, .names and .labels. A property that comes out empty is left out. The certctl dialect has no properties."`
	Dialect         string        `koanf:"dialect" doc:"API that the gateway speaks: certctl, cagw, or auto. With auto the worker asks the gateway once."`
	ClientID        string        `koanf:"client_id" doc:"Value of the header ca-client-id, which the worker sends with every call. Leave it empty unless your gateway asks for it."`
	UnverifiedKeys  string        `koanf:"unverified_keys" doc:"What to do with certificate requests whose signature the worker cannot verify: those with brainpool, secp256k1, Ed448, RSASSA-PSS and ML-DSA keys. pass: the CA decides, and the worker compares the issued key byte by byte. refuse: the request is invalid."`
	IssueCRL        string        `koanf:"issue_crl" doc:"When the worker asks the gateway for a certificate revocation list (CRL). each: with every revocation. bulk: once after several revocations; the worker then sends the last revocation again and asks for a list with it. It does so 5s after the last revocation, and at most a minute after the first. request: when a request has issue_crl. The certctl dialect has no way to ask."`
	ServerCAPath    string        `koanf:"server_ca_path" doc:"Path of the CA certificates, PEM, that the worker trusts for the gateway instead of the system's."`
	Renegotiation   bool          `koanf:"renegotiation" doc:"Let the gateway ask for the client certificate again after it read a request, once on a connection. Apache httpd and IIS do so where only a path requires the certificate. The worker then speaks TLS 1.2 and HTTP/1.1. Leave it off elsewhere."`
	EnrollTimeout   time.Duration `koanf:"enroll_timeout" doc:"Limit of one enrollment call, 1s to 1h. Too short: the worker cuts off live enrollments, since a gateway may itself wait for a minute, and must look them up. Too long: a call to a hanging gateway keeps its place in the lane. The order lease is this limit and an eighth of it more, at least 1s more. If a worker dies during the call, another worker takes the order over only when the lease has ended."`
	Timeout         time.Duration `koanf:"timeout" doc:"Limit of every other call to the gateway, 1s to 1h and below ack_wait."`
	ConnectTimeout  time.Duration `koanf:"connect_timeout" doc:"Limit of making a TCP connection to the gateway, and again of its TLS handshake, 100ms to 1m and at most gateway.timeout."`
	IdleTimeout     time.Duration `koanf:"idle_timeout" doc:"How long a connection to the gateway stays open without a call, 100ms to 10m. Keep it below the idle limit of the gateway and of every proxy before it. Too long: the gateway may close a connection while a call begins on it, and the call is lost. Too short: calls that are further apart cost a TLS handshake each. The worker uses less where the gateway's Keep-Alive header says less."`
	Approval        string        `koanf:"approval" doc:"Whether enrollments may wait for approval at this gateway. The setting counts when the answer to an enrollment was lost and the look-up finds no certificate. unknown: the order may still wait for approval, so on_lost_reply decides. never: the gateway issues at once or not at all, so the worker enrolls again, at most twice in one generation and without the flag possible_duplicate. Wrong choice: if you set never and the gateway holds enrollments for approval, one lost answer can give two certificates. If you keep unknown where never is true, an operator must look at such orders. docs/gateway.md has a test enrollment that shows which is true."`
	EventDelay      time.Duration `koanf:"event_delay" doc:"How long after an enrollment the gateway's certificate events may still not show it, 1ms to 1h. A look-up waits for the order lease and this time. Too short: a look-up misses a certificate that was issued. With gateway.approval never, or on_lost_reply resubmit, that is a second enrollment; otherwise the order is held. Too long: orders whose answer was lost end later."`
	Feed            time.Duration `koanf:"feed" doc:"Pause between two readings of the gateway's certificate events, 10s to 24h. The worker publishes them on <prefix>.event.<ca>. 0: the worker reads none, and needs no stream for them. Each reading costs at least one call for each CA. The certctl dialect has no events."`
	Rate            float64       `koanf:"rate" doc:"Most calls a second from this worker to the gateway. 0: no limit. Too high: the gateway answers 429, which pauses the fleet. Too low: requests wait."`
	FleetRate       float64       `koanf:"fleet_rate" doc:"Most calls a second from all workers together to the gateway, in equal parts for each live worker. An idle worker leaves its part unused. Set it to the gateway's quota or below, to the same value in every worker; gateway.rate can then stay 0. Too high: the gateway answers 429, which pauses the fleet. Too low: requests wait. 0: no limit."`
	ThrottleFloor   time.Duration `koanf:"throttle_floor" doc:"Shortest pause of the fleet after the gateway answered 429, 1ms to 1h. The hosted gateway counts its quota in windows of ten seconds. Too short: the next calls get 429 again. Too long: the fleet waits longer than it must."`
	NotFoundGrace   time.Duration `koanf:"not_found_grace" doc:"How long an order stays pending although the gateway answers its polls with 404, 1s to 24h. The time begins gateway.enroll_timeout after the submission. When it is over, three 404 answers over at least 15m end the order as unconfirmed, with a dead letter, if the gateway answers polls of other orders of the CA meanwhile. If the order's deadline comes first, the order ends as expired. Too short: an order that the gateway registers late is held for an operator. Too long: an order that the gateway does not have is reported late."`
	Poll            string        `koanf:"poll" doc:"How the worker polls a pending enrollment in the cagw dialect. enrollment: at gateway.poll_path. events: in the certificate events. They show issued certificates only, so that a rejected order expires at its deadline. auto: at the path, and in the events while the gateway has no such path."`
	PollPath        string        `koanf:"poll_path" doc:"Path below /v1 of a pending enrollment, with {trackingId} and, if needed, {caId}. It is published for the certctl dialect only."`
}

// NATS says how to connect. Its names are those of the nats command. What is not here, a
// context of the nats command holds.
type NATS struct {
	URL         string        `koanf:"url" env:"NATS_URL" flag:"server" short:"s" show:"true" doc:"NATS server URLs, separated by commas."`
	Context     string        `koanf:"context" env:"NATS_CONTEXT" flag:"context" show:"true" doc:"Context of the nats command to connect with: its name, or the absolute path of its file. The worker uses the selected context only if you name it here. Other nats settings replace the context's values. Credentials replace all of its credentials."`
	Creds       Secret        `koanf:"creds" env:"NATS_CREDS" flag:"creds" show:"true" secret:"file" doc:"Path of a credentials file."`
	NKey        Secret        `koanf:"nkey" env:"NATS_NKEY" flag:"nkey" show:"true" secret:"file" doc:"Path of an nkey seed file."`
	User        Secret        `koanf:"user" env:"NATS_USER" flag:"user" show:"true" doc:"User name. If nats.password is not set, the worker sends the value as a token."`
	Password    Secret        `koanf:"password" env:"NATS_PASSWORD" flag:"password" show:"true" secret:"value" doc:"Password."`
	Token       Secret        `koanf:"token" env:"NATS_TOKEN" flag:"token" show:"true" secret:"value" doc:"Token."`
	TLSCert     string        `koanf:"tls_cert" env:"NATS_CERT" flag:"tlscert" show:"true" doc:"Path of the client certificate for NATS, PEM."`
	TLSKey      Secret        `koanf:"tls_key" env:"NATS_KEY" flag:"tlskey" show:"true" secret:"file" doc:"Path of the client certificate's key, PEM."`
	TLSCA       string        `koanf:"tls_ca" env:"NATS_CA" flag:"tlsca" show:"true" doc:"Path of the CA certificates, PEM, that the worker trusts for NATS servers."`
	Timeout     time.Duration `koanf:"timeout" env:"NATS_TIMEOUT" flag:"timeout" show:"true" doc:"Limit of connecting and of each JetStream request, 100ms to 1m."`
	JSDomain    string        `koanf:"js_domain" env:"NATS_JS_DOMAIN" flag:"js-domain" show:"true" doc:"JetStream domain, for streams behind a leaf node."`
	InboxPrefix string        `koanf:"inbox_prefix" flag:"inbox-prefix" show:"true" doc:"Prefix of reply subjects, where NATS permissions require one."`
}

// Poll says when a worker asks for a parked order.
type Poll struct {
	First        time.Duration `koanf:"first" doc:"Wait before the first poll of a parked order, at least 1ms. Each next wait is three times as long, up to poll.max, and varies at random by 20 %. Too short: more calls to the gateway for orders that people approve. Too long: quick approvals are delivered late."`
	Max          time.Duration `koanf:"max" doc:"Longest wait between two polls of an order. It is at least poll.first, less than a twelfth of streams.orders_max_age, and at most a third of streams.results_max_age. A Retry-After of the gateway counts up to three times this. Too short: every parked order costs one call in this time, which may exceed the gateway's quota. Too long: an approval goes unnoticed for that time."`
	MaxWait      time.Duration `koanf:"max_wait" env:"CERTCTL_ENTRUST_POLL_MAX_WAIT_SECONDS" unit:"seconds" doc:"Deadline of an order whose request has no poll_max_wait_seconds: how long it may wait for approval, 1s up to poll.max_wait_limit. The time runs from the acceptance. The worker polls the order a last time at the deadline, then ends it as expired. Too short: orders expire before people approve them; a replay takes them up without a new enrollment. Too long: an order that is never approved costs polls, and its producer gets the result late. 24h and more is ordinary where people approve. The environment variable takes whole seconds."`
	MaxWaitLimit time.Duration `koanf:"max_wait_limit" doc:"Longest poll_max_wait_seconds that a request may name, not below poll.max_wait. Too low: requests that name more end as failed, because they are invalid. Too high: an order that is never approved costs a wake-up and its polls until then."`
}

// Streams says what provisioning makes of the streams and verification asks of them.
// Their names follow from Prefix, their other limits from the rest of the configuration.
type Streams struct {
	Prefix           string        `koanf:"prefix" doc:"First part of every subject. The names of streams and buckets follow from it: entrust gives ENTRUST_REQUESTS, other.pki gives OTHER_PKI_REQUESTS. All workers of a fleet and their producers need the same prefix."`
	RequestsMaxBytes Size          `koanf:"requests_max_bytes" doc:"Size at which the stream of requests is full, at least 1MiB; bytes, or with KiB, MiB, GiB or TiB. A full stream refuses requests, and the publisher gets the error. Too small: it is full early in an outage of the gateway. Too large: the disk fills up."`
	ResultsMaxAge    time.Duration `koanf:"results_max_age" doc:"How long NATS keeps results, at least 1h. Too short: a producer that is away longer misses its results."`
	OrdersMaxAge     time.Duration `koanf:"orders_max_age" doc:"How long the ledger keeps a finished order, not below streams.results_max_age and more than twelve times poll.max. In that time the same id never enrolls again. Too short: a request that is published again later is a new enrollment. The default is below streams.dead_max_age: a dead letter that is older than this time, and that a tool other than dead replay publishes again, enrolls again. Set at least streams.dead_max_age to avoid that; it costs disk."`
	DeadMaxAge       time.Duration `koanf:"dead_max_age" doc:"How long NATS keeps dead letters, at least 1s. Too short: a dead letter is gone before an operator handled it."`
}

// Log says how to log. Logs go to standard error.
type Log struct {
	Level  string `koanf:"level" show:"true" doc:"Lowest level that is logged: debug, info, warn or error."`
	Format string `koanf:"format" show:"true" doc:"Format of the log: text, json, or auto. auto is text on a terminal and json elsewhere."`
}

// HTTP says where the worker answers about itself.
type HTTP struct {
	Addr  string `koanf:"addr" empty:"set" doc:"Address of the status page, /metrics, /healthz and /readyz: host and port. An empty value turns HTTP off, also as an empty environment variable. If the default address is in use, the worker runs without HTTP. If another address is in use, the worker does not start. Every host that reaches the address can read the metrics. If this is not a loopback address and http.token is not set, the worker runs without the status page."`
	Token Secret `koanf:"token" secret:"value" doc:"Token for the status page, 16 to 256 visible ASCII characters. A reader enters it in the form of the page or sends it as a bearer token. Unset: the page answers on a loopback address only, to every user of the host. Metrics and health need no token."`
	Pprof bool   `koanf:"pprof" doc:"Serve /debug/pprof at http.addr too. It shows the memory of the process: use it on a loopback address only."`
}
