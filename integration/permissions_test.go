package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// defaultName is the name of a site without one: the prefix of the default configuration.
const defaultName = "entrust"

// permitted returns the configuration of a server whose workers have exactly the
// permissions of deploy/nats. Each site has a user with its name. Connections without a
// user may do everything; the tests use them.
func permitted(t testing.TB, sites ...string) string {
	t.Helper()
	text, err := os.ReadFile("../deploy/nats/permissions.conf")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(text), "\nENTRUST_WORKER = {")
	block, _, ends := strings.Cut(block, "\n}\n")
	if !found || !ends {
		t.Fatal("permissions.conf has no block of the worker")
	}
	var users strings.Builder
	for _, name := range sites {
		own := strings.NewReplacer("ENTRUST_", strings.ToUpper(name)+"_", `"entrust.`, `"`+name+`.`, `"_INBOX_worker.>"`, `"_INBOX.>"`).Replace(block)
		fmt.Fprintf(&users, "{ user: %q, password: %q, permissions: {%s\n} }\n", name, workerPassword, own)
	}
	return fmt.Sprintf("no_auth_user: test\nauthorization {\nusers: [\n{ user: test, password: test }\n%s]\n}", users.String())
}

// workerPassword is the password of every site's user.
const workerPassword = "of-the-integration-suite"

// refusedBy returns the lines of a worker's log about actions that the server refused.
func refusedBy(log string) []string {
	var lines []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, "ermissions") {
			lines = append(lines, line)
		}
	}
	return lines
}
