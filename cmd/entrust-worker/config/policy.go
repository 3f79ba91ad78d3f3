package config

// Policy says who may ask for what.
type Policy struct {
	File string `koanf:"file" show:"true" doc:"Path of the policy file, YAML: which producer may ask for what. With one, what it does not name is refused; without one, every producer may ask for everything. The worker reads it again on SIGHUP and within 5s of a change; a missing or wrong file leaves the policy before it in force. A worker does not start without a valid one."`
}
