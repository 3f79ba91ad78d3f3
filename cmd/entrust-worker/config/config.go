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

	IssueConcurrency  int           `koanf:"issue_concurrency" doc:"Enrollments that this worker may have at the gateway at once, 1 to 10000. A quarter more requests are in flight, so that they are ready when a call ends. Throughput is about this number divided by the gateway's latency; more also means more connections to the gateway."`
	RevokeConcurrency int           `koanf:"revoke_concurrency" doc:"Revocations at the gateway at once, 1 to 10000. This capacity is reserved: issue requests never use it."`
	PollConcurrency   int           `koanf:"poll_concurrency" doc:"Polls of parked orders at the gateway at once, 1 to 10000. More catches up sooner when many are due at once, and asks more of the gateway then."`
	ManageConcurrency int           `koanf:"manage_concurrency" doc:"Calls for track and cancel requests at the gateway at once, 1 to 10000."`
	AckWait           time.Duration `koanf:"ack_wait" doc:"How long NATS waits for a sign of life from a worker before it gives the message to another worker, 1s to 1h. The worker extends it during longer calls. Too short: a slow network causes redeliveries, which cost reads and no second enrollment. Too long: the orders of a killed worker wait for as long. The consumers must have the same value."`
	Drain             time.Duration `koanf:"drain" doc:"How long a stop waits for calls in flight, 1ms to 24h. The worker then hands unfinished messages back at once. Keep it below the time your supervisor allows for a stop, and above the gateway's usual latency."`
	SubmitMaxWait     time.Duration `koanf:"submit_max_wait" doc:"How long an order may wait to be accepted by the gateway, at least 1m and below streams.orders_max_age. The time does not run while the gateway's breaker is open or a pause holds."`
	OnLostReply       string        `koanf:"on_lost_reply" doc:"What the worker does when it lost the answer to an enrollment and the look-up proves nothing. hold: it ends the order as unconfirmed with a dead letter, and an operator decides; nothing is enrolled twice. resubmit: it enrolls again and sets possible_duplicate in the result; the gateway may then have issued two certificates."`
	OnRollback        string        `koanf:"on_rollback" doc:"What becomes of requests that may have been submitted before the bus lost its last writes. lookup: the worker looks them up, and holds those that cannot be looked up. hold: the result unconfirmed and a dead letter. resubmit: the worker enrolls again, and flags the result as a possible duplicate."`
	RollbackWindow    time.Duration `koanf:"rollback_window" doc:"How long after a worker noticed that the bus lost its last writes a new issue request counts as one that the bus lost and its producer published again: on_rollback decides about it. At least sync_interval of the NATS servers, which is 2m by default, and at most 24h. Too short enrolls such a request twice. 0s: it counts as new."`
	StateDir          string        `koanf:"state_dir" doc:"Directory in which the worker keeps, across its own restart, the last record that NATS acknowledged to it. With it the worker notices at its start that the bus lost its last writes while no worker ran. Workers may share it. Unset: nothing is kept."`
	WatchdogEvery     time.Duration `koanf:"watchdog_every" doc:"Pause between two scans for parked orders that were due and were not polled, 10s to 24h. A scan reads all wake-ups, and the records written since the last one, for a tenth of the time, so that it holds up nothing."`
	Provision         bool          `koanf:"provision" show:"true" doc:"Create missing streams, buckets and consumers at start. The worker never changes existing ones. Leave it off where the worker's NATS user may not create streams."`
	Replicas          int           `koanf:"replicas" doc:"Copies of each stream that provisioning creates, 1 to 5. Three survive the loss of a server and need a cluster of at least three."`
	Format            int           `koanf:"format" flag:"record-format" doc:"Format of the records and wake-ups that this worker writes: 1. Raise it when every worker of the fleet reads the new format."`
}

// Gateway says which CA Gateway to use and how.
type Gateway struct {
	URL             string        `koanf:"url" env:"CERTCTL_ENTRUST_API_URL" doc:"Base URL of the CA Gateway, https, with its context path if it has one. Required. The worker appends /v1 unless the path ends in it."`
	ClientCertPath  string        `koanf:"client_cert_path" env:"CERTCTL_ENTRUST_CLIENT_CERT_PATH" doc:"Path of the client certificate, PEM, intermediates after it. Required unless gateway.client_p12_path is set. The worker looks at the files on every call: replace them to rotate."`
	ClientKeyPath   Secret        `koanf:"client_key_path" env:"CERTCTL_ENTRUST_CLIENT_KEY_PATH" secret:"file" doc:"Path of the client certificate's private key, PEM. Required beside gateway.client_cert_path."`
	KeyPasswordFile Secret        `koanf:"client_key_password_file" secret:"file" doc:"Path of a file that holds the password of an encrypted key: PKCS#8 with PBES2. A key that is not encrypted needs none."`
	ClientP12Path   Secret        `koanf:"client_p12_path" secret:"file" doc:"Path of a PKCS#12 file with client certificate and key, instead of the PEM pair."`
	P12PasswordFile Secret        `koanf:"client_p12_password_file" secret:"file" doc:"Path of a file that holds the password of the PKCS#12 file. Unset: the empty password."`
	CAID            string        `koanf:"ca_id" env:"CERTCTL_ENTRUST_CA_ID" doc:"Certificate authority for requests that name none, as in GET /certificate-authorities. Required."`
	ProfileID       string        `koanf:"profile_id" env:"CERTCTL_ENTRUST_PROFILE_ID" doc:"Enrollment profile for requests that name none. The cagw dialect needs one, here or in the request."`
	ProfileValidity Durations     `koanf:"profile_validity" doc:"How long certificates of a profile are valid where a request asks for no validity, by profile: a group such as {tls-server: 90d}. A request with max_validity_seconds asks for that much only where its profile gives more. Without this the worker goes by the last certificate that the profile gave, and until then asks."`
	Properties      Properties    `koanf:"properties" doc:"Properties of enrollments that do not name them, by CA and name: texts, numbers, booleans, lists of these. A CA of Entrust Certificate Services needs tracking.requesterName and tracking.requesterEmail. A text may be a template of Go over .producer, .id, .common_name, .subject_dn, .ca_id, .profile_id, .names and .labels; what comes out empty is left out. The certctl dialect has no properties."`
	Dialect         string        `koanf:"dialect" doc:"How the gateway speaks: certctl, cagw, or auto, which asks it once."`
	ClientID        string        `koanf:"client_id" doc:"Sent as the header ca-client-id with every call. Leave it empty unless your gateway asks for one."`
	UnverifiedKeys  string        `koanf:"unverified_keys" doc:"Certificate requests whose signature the worker cannot verify, as with brainpool, secp256k1, Ed448, RSASSA-PSS and ML-DSA keys. pass: the CA decides, and the worker compares the issued key byte by byte. refuse: the request is invalid."`
	IssueCRL        string        `koanf:"issue_crl" doc:"When to ask for a revocation list. each: with every revocation. bulk: once after several, 5s after the last and a minute after the first at the latest, by repeating the last revocation. request: where a request has issue_crl. The certctl dialect has no way to ask."`
	ServerCAPath    string        `koanf:"server_ca_path" doc:"Path of PEM certificates that may vouch for the gateway, instead of the system's."`
	Renegotiation   bool          `koanf:"renegotiation" doc:"Let the gateway ask for the client certificate again after it read a request, once on a connection: as Apache httpd and IIS do where only a path demands it. The worker then speaks TLS 1.2 and HTTP/1.1. Leave it off elsewhere."`
	EnrollTimeout   time.Duration `koanf:"enroll_timeout" doc:"Limit of one enrollment call, 1s to 1h. Too short cuts live enrollments and leaves them indeterminate, since a gateway may itself wait for a minute; too long holds a place while a gateway hangs."`
	Timeout         time.Duration `koanf:"timeout" doc:"Limit of every other call to the gateway, at least 1s and below ack_wait."`
	ConnectTimeout  time.Duration `koanf:"connect_timeout" doc:"Limit of making a TCP connection to the gateway, and again of its TLS handshake, 100ms up to gateway.timeout."`
	IdleTimeout     time.Duration `koanf:"idle_timeout" doc:"How long a connection to the gateway stays open without a call, 100ms to 10m. Keep it below the idle limit of the gateway and of every proxy before it: a call on a connection that is being closed may be lost on its way. Shorter costs a TLS handshake for calls that far apart. The worker goes below it where the gateway's Keep-Alive header says less."`
	Approval        string        `koanf:"approval" doc:"Whether enrollments may wait for approval at this gateway. unknown: they may, so after a lost answer the worker does not take an empty look-up as proof; on_lost_reply decides. never: the gateway issues at once or not at all, so after an empty look-up the worker enrolls again. Caution: if you set never and the gateway does hold enrollments for approval, a lost answer leads to two certificates. If you leave unknown where never is true, such orders are held for an operator. docs/gateway.md shows the test enrollment that tells which is true."`
	EventDelay      time.Duration `koanf:"event_delay" doc:"How long after an enrollment the gateway's certificate events may still not show it, 1ms to 1h. A look-up waits for so long."`
	Feed            time.Duration `koanf:"feed" doc:"Pause between two readings of the gateway's certificate events, which the worker publishes on <prefix>.event.<ca>: 10s to 24h. 0: none are read, and there is no stream for them. Each reading costs a call for each CA at least. The certctl dialect has no events."`
	Rate            float64       `koanf:"rate" doc:"Calls a second to the gateway from this worker, at most. 0: no limit."`
	FleetRate       float64       `koanf:"fleet_rate" doc:"Calls a second to the gateway from all workers together, at most, shared evenly. 0: no limit."`
	ThrottleFloor   time.Duration `koanf:"throttle_floor" doc:"The shortest pause after a 429, 1ms to 1h: the gateway counts its quota in windows of ten seconds."`
	NotFoundGrace   time.Duration `koanf:"not_found_grace" doc:"How long the gateway may answer 404 for a submitted order that still counts as pending, 1s to 24h, counted from the submission plus gateway.enroll_timeout. After that, three 404 answers over at least 15 minutes end the order as unconfirmed, not as failed. Too short: orders that a slow gateway registers late are held for an operator. Too long: a lost order is reported late."`
	Poll            string        `koanf:"poll" doc:"How a pending enrollment is asked after in the cagw dialect. enrollment: at gateway.poll_path. events: in the certificate events, which show issued certificates only, so that a rejected order expires at its deadline. auto: at the path, and in the events while the gateway shows no such path."`
	PollPath        string        `koanf:"poll_path" doc:"Path below /v1 of a pending enrollment, with {caId} and {trackingId}. Published for the certctl dialect only."`
}

// NATS says how to connect. Its names are those of the nats command. What is not here, a
// context of the nats command holds.
type NATS struct {
	URL         string        `koanf:"url" env:"NATS_URL" flag:"server" short:"s" show:"true" doc:"NATS server URLs, separated by commas."`
	Context     string        `koanf:"context" env:"NATS_CONTEXT" flag:"context" show:"true" doc:"Context of the nats command to connect with: its name, or the absolute path of its file. The worker uses the selected one only if it is named here. Other nats settings override it, and credentials all of its credentials."`
	Creds       Secret        `koanf:"creds" env:"NATS_CREDS" flag:"creds" show:"true" secret:"file" doc:"Path of a credentials file."`
	NKey        Secret        `koanf:"nkey" env:"NATS_NKEY" flag:"nkey" show:"true" secret:"file" doc:"Path of an nkey seed file."`
	User        Secret        `koanf:"user" env:"NATS_USER" flag:"user" show:"true" doc:"User name, or, without a password, a token."`
	Password    Secret        `koanf:"password" env:"NATS_PASSWORD" flag:"password" show:"true" secret:"value" doc:"Password."`
	Token       Secret        `koanf:"token" env:"NATS_TOKEN" flag:"token" show:"true" secret:"value" doc:"Token."`
	TLSCert     string        `koanf:"tls_cert" env:"NATS_CERT" flag:"tlscert" show:"true" doc:"Path of the client certificate for NATS, PEM."`
	TLSKey      Secret        `koanf:"tls_key" env:"NATS_KEY" flag:"tlskey" show:"true" secret:"file" doc:"Path of the client certificate's key, PEM."`
	TLSCA       string        `koanf:"tls_ca" env:"NATS_CA" flag:"tlsca" show:"true" doc:"Path of the certificates that may vouch for NATS servers, PEM."`
	Timeout     time.Duration `koanf:"timeout" env:"NATS_TIMEOUT" flag:"timeout" show:"true" doc:"Limit of connecting and of each JetStream request, 100ms to 1m."`
	JSDomain    string        `koanf:"js_domain" env:"NATS_JS_DOMAIN" flag:"js-domain" show:"true" doc:"JetStream domain, for streams behind a leaf node."`
	InboxPrefix string        `koanf:"inbox_prefix" flag:"inbox-prefix" show:"true" doc:"Prefix of reply subjects, where permissions ask for one."`
}

// Poll says when a worker asks for a parked order.
type Poll struct {
	First        time.Duration `koanf:"first" doc:"Wait before the first poll, at least 1ms. Each next wait is three times as long, up to poll.max, and varies by 20 % at random. Too short: more calls to the gateway for orders that people approve. Too long: quick approvals are delivered late."`
	Max          time.Duration `koanf:"max" doc:"Longest wait between two polls, not below poll.first. Too short: every parked order costs one call in this time, which may exceed the gateway's quota. Too long: an approval goes unnoticed for as long. A Retry-After of the gateway counts up to three times this."`
	MaxWait      time.Duration `koanf:"max_wait" env:"CERTCTL_ENTRUST_POLL_MAX_WAIT_SECONDS" unit:"seconds" doc:"How long an order may wait for approval when its request does not say, 1s up to poll.max_wait_limit. The worker polls it a last time at this deadline, then ends it as expired. Too short: orders expire before people approve them; a replay takes them up without a new enrollment. 24h and more is ordinary where people approve. The environment variable takes whole seconds."`
	MaxWaitLimit time.Duration `koanf:"max_wait_limit" doc:"The longest deadline that a request may name, not below poll.max_wait. Every order until then costs a wake-up and its polls."`
}

// Streams says what provisioning makes of the streams and verification asks of them.
// Their names follow from Prefix, their other limits from the rest of the configuration.
type Streams struct {
	Prefix           string        `koanf:"prefix" doc:"First part of every subject. The names of streams and buckets follow from it: entrust gives ENTRUST_REQUESTS, other.pki gives OTHER_PKI_REQUESTS."`
	RequestsMaxBytes Size          `koanf:"requests_max_bytes" doc:"Size at which the stream refuses requests to their publishers, at least 1MiB; bytes, or with KiB, MiB, GiB or TiB. Too small refuses during an outage of the gateway; too large lets the disk fill up."`
	ResultsMaxAge    time.Duration `koanf:"results_max_age" doc:"How long results can be read, at least 1h. A producer that is away longer misses its results."`
	OrdersMaxAge     time.Duration `koanf:"orders_max_age" doc:"How long the ledger remembers a finished order, not below streams.results_max_age, and more than twelve times poll.max: for so long the same id never enrolls again. At least streams.dead_max_age lets every dead letter be replayed safely."`
	DeadMaxAge       time.Duration `koanf:"dead_max_age" doc:"How long dead letters wait for an operator, at least 1s."`
}

// Log says how to log. Logs go to standard error.
type Log struct {
	Level  string `koanf:"level" show:"true" doc:"What is logged: debug, info, warn or error."`
	Format string `koanf:"format" show:"true" doc:"text, json, or auto, which is text on a terminal."`
}

// HTTP says where the worker answers about itself.
type HTTP struct {
	Addr  string `koanf:"addr" empty:"set" doc:"Address of the status page, /metrics, /healthz and /readyz: host and port. Empty turns HTTP off, also as an empty environment variable. If the default address is in use, the worker goes on without; if another is, it does not start. Everyone who reaches it can read the metrics. The status page needs http.token where this is no loopback address."`
	Token Secret `koanf:"token" secret:"value" doc:"Token that a reader of the status page must know, 16 to 256 characters without spaces: in the form of the page, or as a bearer token. Unset: the page answers on a loopback address only, to everyone on the host. Metrics and health need no token."`
	Pprof bool   `koanf:"pprof" doc:"Serve /debug/pprof there as well. It shows the memory of the process: loopback only."`
}
