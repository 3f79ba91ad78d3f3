package main

import "time"

// Config is everything an operator can set. Each field says in its tags
//
//	koanf   its name in the YAML file
//	env     its environment name, where that is not ENTRUST_WORKER_ and the path
//	flag    its flag, where that is not the path with dashes
//	show    that the flag is listed by --help
//	secret  that its value is never printed
//	doc     effect, unit, bounds, and what speaks for less and for more
//
// docs/configuration.md is made from them. A field's default is its value in
// defaultConfig. Only this package knows about files, environment and flags.
type Config struct {
	Gateway GatewayConfig `koanf:"gateway"`
	NATS    NATSConfig    `koanf:"nats"`
	Poll    PollConfig    `koanf:"poll"`
	Streams StreamsConfig `koanf:"streams"`
	Log     LogConfig     `koanf:"log"`
	HTTP    HTTPConfig    `koanf:"http"`

	IssueConcurrency  int           `koanf:"issue_concurrency" doc:"Issue requests in hand at once in this worker, 1 to 10000. Throughput is about this number divided by the gateway's latency; more also means more connections to the gateway."`
	RevokeConcurrency int           `koanf:"revoke_concurrency" doc:"Revocations in hand at once, 1 to 10000. It is capacity of their own: issues never use it."`
	PollConcurrency   int           `koanf:"poll_concurrency" doc:"Polls of parked orders in hand at once, 1 to 10000. More catches up sooner when many are due at once, and asks more of the gateway then."`
	OrderConcurrency  int           `koanf:"order_concurrency" doc:"Track and cancel requests in hand at once, 1 to 10000."`
	AckWait           time.Duration `koanf:"ack_wait" doc:"How long NATS waits for a sign of life from a worker before it hands the message to another one, 1s to 1h. Shorter recovers sooner from a dead worker; longer forgives a slow network. Longer calls extend it by themselves. The consumers must have the same value."`
	Drain             time.Duration `koanf:"drain" doc:"How long a stop waits for calls in flight, 1ms to 24h. What is then unfinished is handed back at once. Keep it below the time your supervisor allows for a stop, and above the gateway's usual latency."`
	OnLostReply       string        `koanf:"on_lost_reply" doc:"What becomes of an enrollment whose answer was lost, where looking it up decides nothing. hold: the result unconfirmed and a dead letter, for an operator to replay. resubmit: enroll again, and flag the result as a possible duplicate."`
	WatchdogEvery     time.Duration `koanf:"watchdog_every" doc:"Pause between two searches for parked orders that were due and did not come, 10s to 24h. A search reads all slots and the ledger, for a tenth of the time that it takes, so that it holds up nothing: a million records make it last minutes."`
	Provision         bool          `koanf:"provision" show:"true" doc:"Create missing streams, buckets and consumers at start. What is there is never changed. Leave it off where the worker's NATS user may not create streams."`
	Replicas          int           `koanf:"replicas" doc:"Copies of each stream that provisioning creates, 1 to 5. Three survive the loss of a server and need a cluster of at least three."`
}

// GatewayConfig says which CA Gateway to use and how.
type GatewayConfig struct {
	URL               string        `koanf:"url" env:"CERTCTL_ENTRUST_API_URL" doc:"Base URL of the CA Gateway, https, with its context path if it has one. Required. /v1 is appended unless the path ends in it."`
	ClientCertPath    string        `koanf:"client_cert_path" env:"CERTCTL_ENTRUST_CLIENT_CERT_PATH" doc:"Path of the client certificate, PEM, intermediates after it. Required unless gateway.client_p12_path is set. Looked at on every call: replace the files to rotate."`
	ClientKeyPath     string        `koanf:"client_key_path" env:"CERTCTL_ENTRUST_CLIENT_KEY_PATH" doc:"Path of the client certificate's unencrypted private key, PEM. Required beside gateway.client_cert_path."`
	ClientP12Path     string        `koanf:"client_p12_path" doc:"Path of a PKCS#12 file with client certificate and key, instead of the PEM pair."`
	P12PasswordFile   string        `koanf:"client_p12_password_file" doc:"Path of a file that holds the password of the PKCS#12 file. Unset: the empty password."`
	CAID              string        `koanf:"ca_id" env:"CERTCTL_ENTRUST_CA_ID" doc:"Certificate authority for requests that name none, as in GET /certificate-authorities. Required."`
	ProfileID         string        `koanf:"profile_id" env:"CERTCTL_ENTRUST_PROFILE_ID" doc:"Enrollment profile for requests that name none. The cagw dialect needs one, here or in the request."`
	Dialect           string        `koanf:"dialect" doc:"How the gateway speaks: certctl, cagw, or auto, which asks it once."`
	ServerCAPath      string        `koanf:"server_ca_path" doc:"Path of PEM certificates that may vouch for the gateway, instead of the system's."`
	EnrollTimeout     time.Duration `koanf:"enroll_timeout" doc:"Limit of one enrollment call, at least 1s. Too short cuts live enrollments and leaves their fate unknown, since a gateway may itself wait for a minute; too long holds a place while a gateway hangs."`
	Timeout           time.Duration `koanf:"timeout" doc:"Limit of every other call to the gateway, at least 1s and below ack_wait."`
	ConnectTimeout    time.Duration `koanf:"connect_timeout" doc:"Limit of making a TCP connection to the gateway, and again of its TLS handshake, at least 100ms."`
	IdleTimeout       time.Duration `koanf:"idle_timeout" doc:"How long a connection to the gateway is kept without a call, 100ms to 1h. Keep it below the idle limit of the gateway and of what stands before it: an enrollment that meets the closing of its connection may have an unknown fate. A Keep-Alive header with a shorter timeout is obeyed."`
	Renegotiation     bool          `koanf:"allow_renegotiation" doc:"Allow the gateway one TLS 1.2 renegotiation in a connection, for a server that asks for the client certificate only after the request. Without it such a call is not accepted, and check says so."`
	HalfRotationWait  time.Duration `koanf:"half_rotation_wait" doc:"How long the old key pair is used while certificate and key on disk do not belong together, at least 100ms. Longer forgives a slow rotation; shorter tells sooner of one that went wrong."`
	Approval          string        `koanf:"approval" doc:"unknown: an enrollment may wait for approval. never: the gateway issues at once or not at all, so that an order whose answer was lost and which its events do not show may be submitted again. Wrong, never enrolls twice."`
	EventDelay        time.Duration `koanf:"event_delay" doc:"How long after an enrollment the gateway's certificate events may still not show it, 1ms to 1h. Reconciliation waits for so long."`
	Rate              float64       `koanf:"rate" doc:"Calls a second to the gateway from this worker, at most. 0: no limit."`
	FleetRate         float64       `koanf:"fleet_rate" doc:"Calls a second to the gateway from all workers together, at most, shared evenly. 0: no limit."`
	RetryAfterMax     time.Duration `koanf:"retry_after_max" doc:"The longest pause that the gateway's Retry-After may order, not below gateway.throttle_floor. A larger one is cut to this, so that a mistake cannot stop the work for days."`
	ThrottleFloor     time.Duration `koanf:"throttle_floor" doc:"The shortest pause after a 429, 1ms to 1h: the gateway counts its quota in windows of ten seconds."`
	NotFoundGrace     time.Duration `koanf:"not_found_grace" doc:"How long after its submission, and gateway.enroll_timeout, an order that the gateway does not know is taken for pending, at least 1s. After that it has failed."`
	PollPath          string        `koanf:"poll_path" doc:"Path below /v1 at which a pending enrollment is asked for, with {caId} and {trackingId}. Published for the certctl dialect only."`
	IssuedWords       []string      `koanf:"issued_words" doc:"Status words of an issued enrollment, separated by commas."`
	PendingWords      []string      `koanf:"pending_words" doc:"Status words of an enrollment that waits, separated by commas. Words in no list are polled on, and logged once."`
	RejectedWords     []string      `koanf:"rejected_words" doc:"Status words of an enrollment that was refused, separated by commas."`
	ReconcileSkew     time.Duration `koanf:"reconcile_skew" doc:"How much earlier than its submission a certificate may claim to be issued when a lost answer is looked up, at least 1s."`
	ReconcileMaxPages int           `koanf:"reconcile_max_pages" doc:"Pages of certificate events read in one look-up, 1 to 1000; each costs quota. An order that needs more cannot be looked up, and on_lost_reply decides."`
}

// NATSConfig follows the names of the nats command.
type NATSConfig struct {
	URL          string        `koanf:"url" env:"NATS_URL" flag:"server" short:"s" show:"true" doc:"NATS server URLs, separated by commas."`
	Context      string        `koanf:"context" env:"NATS_CONTEXT" flag:"context" show:"true" doc:"Context of the nats command to connect with: its name, or the absolute path of its file. The selected one is used only if it is named here. Other nats settings override it, and credentials all of its credentials."`
	Creds        string        `koanf:"creds" env:"NATS_CREDS" flag:"creds" show:"true" doc:"Path of a credentials file."`
	NKey         string        `koanf:"nkey" env:"NATS_NKEY" flag:"nkey" show:"true" doc:"Path of an nkey seed file."`
	JWT          string        `koanf:"jwt" env:"NATS_JWT" flag:"jwt" show:"true" secret:"true" doc:"User JWT: beside nats.seed, or alone where it is a bearer's."`
	JWTFile      string        `koanf:"jwt_file" env:"NATS_JWT_FILE" flag:"jwt-file" doc:"Path of a file that holds the user JWT."`
	Seed         string        `koanf:"seed" env:"NATS_SEED" flag:"seed" show:"true" secret:"true" doc:"Seed of the user that the JWT is for."`
	SeedFile     string        `koanf:"seed_file" env:"NATS_SEED_FILE" flag:"seed-file" doc:"Path of a file that holds the seed."`
	User         string        `koanf:"user" env:"NATS_USER" flag:"user" show:"true" doc:"User name, or, without a password, a token."`
	Password     string        `koanf:"password" env:"NATS_PASSWORD" flag:"password" show:"true" secret:"true" doc:"Password."`
	PasswordFile string        `koanf:"password_file" env:"NATS_PASSWORD_FILE" flag:"password-file" doc:"Path of a file that holds the password."`
	Token        string        `koanf:"token" env:"NATS_TOKEN" flag:"token" show:"true" secret:"true" doc:"Token."`
	TokenFile    string        `koanf:"token_file" env:"NATS_TOKEN_FILE" flag:"token-file" doc:"Path of a file that holds the token."`
	TLSCert      string        `koanf:"tls_cert" env:"NATS_CERT" flag:"tlscert" show:"true" doc:"Path of the client certificate for NATS, PEM."`
	TLSKey       string        `koanf:"tls_key" env:"NATS_KEY" flag:"tlskey" show:"true" doc:"Path of the client certificate's key, PEM."`
	TLSCA        string        `koanf:"tls_ca" env:"NATS_CA" flag:"tlsca" show:"true" doc:"Path of the certificates that may vouch for NATS servers, PEM."`
	TLSFirst     bool          `koanf:"tls_first" flag:"tlsfirst" show:"true" doc:"Begin TLS before the server says anything, for servers with handshake_first."`
	SOCKSProxy   string        `koanf:"socks_proxy" env:"NATS_SOCKS_PROXY" flag:"socks-proxy" show:"true" doc:"URL of a SOCKS5 proxy on the way to NATS, socks5://host:port."`
	Timeout      time.Duration `koanf:"timeout" env:"NATS_TIMEOUT" flag:"timeout" show:"true" doc:"Limit of connecting and of each JetStream request, 100ms to 1m."`
	JSDomain     string        `koanf:"js_domain" env:"NATS_JS_DOMAIN" flag:"js-domain" show:"true" doc:"JetStream domain, for streams behind a leaf node."`
	JSAPIPrefix  string        `koanf:"js_api_prefix" flag:"js-api-prefix" show:"true" doc:"Subject prefix of the JetStream API, where another account exports it. Not beside nats.js_domain."`
	InboxPrefix  string        `koanf:"inbox_prefix" flag:"inbox-prefix" show:"true" doc:"Prefix of reply subjects, where permissions ask for one."`
}

// PollConfig says when a parked order is asked for.
type PollConfig struct {
	First         time.Duration `koanf:"first" doc:"Wait before the first poll, at least 1ms. Shorter delivers quick approvals sooner; longer spares the gateway where people approve."`
	Factor        float64       `koanf:"factor" doc:"What each wait is multiplied by to give the next, at least 1."`
	Max           time.Duration `koanf:"max" doc:"Longest wait between two polls, not below poll.first. It bounds how long an approval goes unnoticed; each parked order costs one call in that time."`
	Jitter        float64       `koanf:"jitter" doc:"Share of each wait that is added or taken away at random, 0 up to 1. 0 polls orders together that were parked together."`
	RetryAfterMax time.Duration `koanf:"retry_after_max" doc:"The longest Retry-After that is obeyed for one order; 0 ignores it, otherwise not below poll.max."`
	MaxWait       time.Duration `koanf:"max_wait" env:"CERTCTL_ENTRUST_POLL_MAX_WAIT_SECONDS" unit:"seconds" doc:"Deadline of an order whose request names none, 1s up to poll.max_wait_limit: it is polled a last time then, and ends as expired. 24h and more is ordinary where people approve. The environment gives it in whole seconds."`
	MaxWaitLimit  time.Duration `koanf:"max_wait_limit" doc:"The longest deadline that a request may name, not below poll.max_wait. Every order until then costs a slot and its polls."`
}

// StreamsConfig names the streams, and says what provisioning makes of them and
// verification asks of them.
type StreamsConfig struct {
	Prefix             string        `koanf:"prefix" doc:"First part of every subject."`
	Requests           string        `koanf:"requests" doc:"Name of the stream of requests."`
	Parked             string        `koanf:"parked" doc:"Name of the stream of parked orders."`
	Results            string        `koanf:"results" doc:"Name of the stream of results."`
	Dead               string        `koanf:"dead" doc:"Name of the stream of dead letters."`
	Orders             string        `koanf:"orders" doc:"Name of the key-value bucket with the ledger."`
	Control            string        `koanf:"control" doc:"Name of the key-value bucket in which workers tell each other of holds."`
	RequestsMaxBytes   Size          `koanf:"requests_max_bytes" doc:"Size at which requests are refused to their publishers, at least 1MiB; bytes, or with KiB, MiB, GiB or TiB. Too small refuses during an outage of the gateway; too large lets the disk fill up."`
	RequestsDuplicates time.Duration `koanf:"requests_duplicates" doc:"How long NATS itself recognises a request that is published twice, at least 100ms. After that the ledger does, at the price of a delivery."`
	ResultsDuplicates  time.Duration `koanf:"results_duplicates" doc:"The same for results and dead letters, at least three times poll.max and at most streams.results_max_age."`
	ResultsMaxAge      time.Duration `koanf:"results_max_age" doc:"How long results can be read, at least 1s. A producer that is away longer misses them."`
	DeadMaxAge         time.Duration `koanf:"dead_max_age" doc:"How long dead letters wait for an operator, at least 1s."`
	OrdersMaxAge       time.Duration `koanf:"orders_max_age" doc:"How long the ledger remembers a finished order, not below streams.results_max_age: for so long the same id never enrolls again."`
	IssuePending       int           `koanf:"issue_pending" doc:"Issue requests in hand over all workers, at most; not below issue_concurrency. It is the limit of the fleet."`
	RevokePending      int           `koanf:"revoke_pending" doc:"Revocations in hand over all workers, at most; not below revoke_concurrency."`
	OrderPending       int           `koanf:"order_pending" doc:"Track and cancel requests in hand over all workers, at most; not below order_concurrency."`
	DuePending         int           `koanf:"due_pending" doc:"Polls in hand over all workers, at most; not below poll_concurrency. Parked orders do not count."`
}

// LogConfig says how to log. Logs go to standard error.
type LogConfig struct {
	Level  string `koanf:"level" show:"true" doc:"What is logged: debug, info, warn or error."`
	Format string `koanf:"format" show:"true" doc:"text, json, or auto, which is text on a terminal."`
}

// HTTPConfig says where the worker answers about itself.
type HTTPConfig struct {
	Addr  string `koanf:"addr" doc:"Address of /metrics, /healthz and /readyz: host and port; empty serves none. If the default one is in use, the worker goes on without; if another is, it does not start. Anybody who reaches it can read the metrics."`
	Pprof bool   `koanf:"pprof" doc:"Serve /debug/pprof there as well. It shows the memory of the process: loopback only."`
}
