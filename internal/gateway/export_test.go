package gateway

// TriageRows returns the names of the triage table's rows, each with its operations.
func TriageRows() (names []string, ops map[string][]Op) {
	ops = map[string][]Op{}
	for _, r := range triage {
		names = append(names, r.name)
		if ops[r.name] = r.ops; r.ops == nil {
			ops[r.name] = []Op{OpEnroll, OpPoll, OpRevoke, OpFind, OpProbe}
		}
	}
	return names, ops
}
