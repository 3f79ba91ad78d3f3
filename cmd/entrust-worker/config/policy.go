package config

// Policy says who may ask for what.
type Policy struct {
	File string `koanf:"file" show:"true" doc:"Path of the policy file, YAML: which producer may ask for what. With a policy, the worker refuses what the policy does not allow. Without one, every producer may ask for everything. The worker reads the file again on SIGHUP and within 5s of a change. While the file is missing or wrong, the last good policy stays in force. If policy.file is set and the file is missing or wrong, a worker does not start."`
}
