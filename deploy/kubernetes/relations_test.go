package kubernetes

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// keys are the environment names of the worker's settings and their defaults, as its
// documentation has them.
func keys(t *testing.T) map[string]string {
	t.Helper()
	row := regexp.MustCompile("(?m)^\\| `[^`]+` \\| (?:`([^`]*)`)? *\\| `([A-Z0-9_]+)` \\|")
	found := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(read(t, "../../docs/configuration.md"), -1) {
		found[m[2]] = m[1]
	}
	if len(found) < 50 || found["ENTRUST_WORKER_DRAIN"] == "" {
		t.Fatalf("reading docs/configuration.md: got %d keys", len(found))
	}
	return found
}

// settings are what a container has in its environment.
func (r *rendered) settings(t *testing.T, c *corev1.Container) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, from := range c.EnvFrom {
		m, ok := r.maps[from.ConfigMapRef.Name]
		if !ok {
			t.Fatalf("%s: container %s: no config map %q", r.name, c.Name, from.ConfigMapRef.Name)
		}
		for name, value := range m.Data {
			env[name] = value
		}
	}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	return env
}

// worker is the pod of the workers, its first container and its settings.
func (r *rendered) worker(t *testing.T) (*corev1.PodTemplateSpec, *corev1.Container, map[string]string) {
	t.Helper()
	d, ok := r.deployments["entrust-worker"]
	if !ok {
		t.Fatalf("%s: no deployment entrust-worker", r.name)
	}
	pod := &d.Spec.Template
	c := &pod.Spec.Containers[0]
	return pod, c, r.settings(t, c)
}

func TestSettingsAreKeys(t *testing.T) {
	t.Parallel()
	known := keys(t)
	for _, r := range everything(t) {
		for owner, pod := range r.pods() {
			for i := range pod.Spec.Containers {
				for name := range r.settings(t, &pod.Spec.Containers[i]) {
					// A secret has a form by file, which the page says once for all of them.
					_, ok := known[name]
					if _, secret := known[strings.TrimSuffix(name, "_FILE")]; !ok && !secret {
						t.Errorf("%s: %s: %s is no setting of the worker", r.name, owner, name)
					}
				}
			}
		}
		_, _, env := r.worker(t)
		for _, name := range []string{"NATS_URL", "CERTCTL_ENTRUST_API_URL", "CERTCTL_ENTRUST_CA_ID", "CERTCTL_ENTRUST_CLIENT_CERT_PATH", "CERTCTL_ENTRUST_CLIENT_KEY_PATH"} {
			if env[name] == "" {
				t.Errorf("%s: the worker has no %s", r.name, name)
			}
		}
	}
}

// A stop has time for the calls in flight.
func TestGraceExceedsDrain(t *testing.T) {
	t.Parallel()
	byDefault := keys(t)["ENTRUST_WORKER_DRAIN"]
	for _, r := range everything(t) {
		pod, _, env := r.worker(t)
		text := env["ENTRUST_WORKER_DRAIN"]
		if text == "" {
			text = byDefault
		}
		drain, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("%s: drain: %v", r.name, err)
		}
		const margin = 10 * time.Second
		if grace := time.Duration(*pod.Spec.TerminationGracePeriodSeconds) * time.Second; grace < drain+margin {
			t.Errorf("%s: terminationGracePeriodSeconds must exceed drain by %v: %v !> %v", r.name, margin, grace, drain)
		}
	}
}

func TestPodsAreRestricted(t *testing.T) {
	t.Parallel()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	user := regexp.MustCompile(`(?m)^USER (\d+):`).FindAllStringSubmatch(read(t, "../../Dockerfile"), -1)
	for _, r := range everything(t) {
		for owner, pod := range r.pods() {
			level := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
			for _, result := range evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec) {
				if !result.Allowed {
					t.Errorf("%s: %s: %s: %s", r.name, owner, result.ForbiddenReason, result.ForbiddenDetail)
				}
			}
			for _, u := range user {
				if got := fmt.Sprint(*pod.Spec.SecurityContext.RunAsUser); got != u[1] {
					t.Errorf("%s: %s: runs as %s, the images as %s", r.name, owner, got, u[1])
				}
			}
			if pod.Spec.AutomountServiceAccountToken == nil || *pod.Spec.AutomountServiceAccountToken {
				t.Errorf("%s: %s: has a token of the API", r.name, owner)
			}
			if pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks {
				t.Errorf("%s: %s: has links of services", r.name, owner)
			}
			for _, c := range append(slices.Clone(pod.Spec.InitContainers), pod.Spec.Containers...) {
				if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
					t.Errorf("%s: %s: container %s can write its root", r.name, owner, c.Name)
				}
				if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
					t.Errorf("%s: %s: container %s has no memory limit or no CPU request", r.name, owner, c.Name)
				}
				if _, tag, ok := strings.Cut(path.Base(c.Image), ":"); !ok || tag == "" || tag == "latest" {
					t.Errorf("%s: %s: image %q names no version", r.name, owner, c.Image)
				}
			}
		}
		for _, n := range r.namespaces {
			if n.Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
				t.Errorf("%s: namespace %s does not enforce restricted pods", r.name, n.Name)
			}
		}
	}
}

// Every port that something names is one that the worker serves.
func TestPortsAgree(t *testing.T) {
	t.Parallel()
	exposed := regexp.MustCompile(`(?m)^EXPOSE (\d+)$`).FindStringSubmatch(read(t, "../../Dockerfile"))
	for _, r := range everything(t) {
		pod, c, env := r.worker(t)
		_, served, err := net.SplitHostPort(env["ENTRUST_WORKER_HTTP_ADDR"])
		if err != nil {
			t.Fatalf("%s: %v", r.name, err)
		}
		if served != exposed[1] || len(c.Ports) != 1 || strconv.Itoa(int(c.Ports[0].ContainerPort)) != served || pod.Annotations["prometheus.io/port"] != served {
			t.Errorf("%s: ports differ: image %s, settings %s, container %v, annotation %s", r.name, exposed[1], served, c.Ports, pod.Annotations["prometheus.io/port"])
		}
		const askedOfNATS = 2 // seconds that /readyz waits for NATS
		for _, p := range []struct {
			probe *corev1.Probe
			path  string
			least int32
		}{{c.LivenessProbe, "/healthz", 1}, {c.ReadinessProbe, "/readyz", askedOfNATS + 1}} {
			if p.probe == nil || p.probe.HTTPGet == nil || p.probe.HTTPGet.Path != p.path || p.probe.HTTPGet.Port.StrVal != c.Ports[0].Name {
				t.Errorf("%s: no probe of %s on port %s", r.name, p.path, c.Ports[0].Name)
			} else if p.probe.TimeoutSeconds < p.least || p.probe.PeriodSeconds < p.probe.TimeoutSeconds {
				t.Errorf("%s: probe of %s: timeout %d s, want %d or more, and no more than its period %d", r.name, p.path, p.probe.TimeoutSeconds, p.least, p.probe.PeriodSeconds)
			}
		}
		for _, s := range r.services {
			owner := selected(r, s.Spec.Selector)
			if len(owner) != 1 {
				t.Errorf("%s: service %s selects %d kinds of pods, want 1", r.name, s.Name, len(owner))
				continue
			}
			for _, port := range s.Spec.Ports {
				if !slices.ContainsFunc(owner[0].Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool { return p.Name == port.TargetPort.StrVal }) {
					t.Errorf("%s: service %s: no container port is called %s", r.name, s.Name, port.TargetPort.StrVal)
				}
			}
		}
		if _, tag, _ := strings.Cut(c.Image, ":"); !slices.Equal(c.Args, []string{"run"}) || tag == "" {
			t.Errorf("%s: the worker's container runs %v of %s", r.name, c.Args, c.Image)
		}
	}
}

// selected are the pods that have all of these labels.
func selected(r *rendered, want map[string]string) []*corev1.PodTemplateSpec {
	var found []*corev1.PodTemplateSpec
	for _, pod := range r.pods() {
		if labels.SelectorFromSet(want).Matches(labels.Set(pod.Labels)) {
			found = append(found, pod)
		}
	}
	return found
}

// Selectors, accounts and budgets are those of the pods that they are for.
func TestReferencesResolve(t *testing.T) {
	t.Parallel()
	for _, r := range everything(t) {
		d := r.deployments["entrust-worker"]
		pod, _, _ := r.worker(t)
		if sel, err := metav1.LabelSelectorAsSelector(d.Spec.Selector); err != nil || !sel.Matches(labels.Set(pod.Labels)) {
			t.Errorf("%s: the deployment does not select its pods: %v", r.name, err)
		}
		if _, ok := r.accounts[pod.Spec.ServiceAccountName]; !ok {
			t.Errorf("%s: no service account %q", r.name, pod.Spec.ServiceAccountName)
		}
		for _, b := range r.budgets {
			if found := selected(r, b.Spec.Selector.MatchLabels); len(found) != 1 || found[0] != pod {
				t.Errorf("%s: disruption budget %s selects %d kinds of pods, want the workers", r.name, b.Name, len(found))
			}
		}
		if several := d.Spec.Replicas == nil || *d.Spec.Replicas > 1; several != (len(r.budgets) == 1) {
			t.Errorf("%s: %d disruption budgets for several workers: %v", r.name, len(r.budgets), several)
		}
		for _, constraint := range pod.Spec.TopologySpreadConstraints {
			if found := selected(r, constraint.LabelSelector.MatchLabels); len(found) != 1 || found[0] != pod {
				t.Errorf("%s: the spread selects %d kinds of pods, want the workers", r.name, len(found))
			}
		}
	}
}

// Every credential that a setting names is in a volume that follows its Secret.
func TestCredentialsRotate(t *testing.T) {
	t.Parallel()
	for _, r := range everything(t) {
		for owner, pod := range r.pods() {
			for _, c := range pod.Spec.Containers {
				env := r.settings(t, &c)
				names := []string{"NATS_CREDS"}
				if slices.Contains(c.Args, "run") {
					names = append(names, "CERTCTL_ENTRUST_CLIENT_CERT_PATH", "CERTCTL_ENTRUST_CLIENT_KEY_PATH", "ENTRUST_WORKER_GATEWAY_SERVER_CA_PATH")
				}
				for _, name := range names {
					if env[name] != "" && !holds(pod, &c, env[name]) {
						t.Errorf("%s: %s: %s=%s is in no volume", r.name, owner, name, env[name])
					}
				}
				for _, m := range c.VolumeMounts {
					if m.SubPath != "" || m.SubPathExpr != "" {
						t.Errorf("%s: %s: mount %s has a subPath, which is never updated", r.name, owner, m.Name)
					}
				}
			}
		}
	}
}

// holds reports whether a container finds this file, for sure or because the volume is one
// that is written at run time.
func holds(pod *corev1.PodTemplateSpec, c *corev1.Container, file string) bool {
	for _, m := range c.VolumeMounts {
		below, ok := strings.CutPrefix(file, m.MountPath+"/")
		if !ok {
			continue
		}
		for _, v := range pod.Spec.Volumes {
			if v.Name != m.Name {
				continue
			}
			if v.EmptyDir != nil {
				return true
			}
			for _, s := range v.Projected.Sources {
				if slices.ContainsFunc(s.Secret.Items, func(k corev1.KeyToPath) bool { return k.Path == below }) {
					return *v.Projected.DefaultMode&0o007 == 0
				}
			}
		}
	}
	return false
}

// The network policy lets a worker out to what its settings name, and no further.
func TestNetworkPolicy(t *testing.T) {
	t.Parallel()
	for _, r := range everything(t) {
		pod, _, env := r.worker(t)
		if len(r.policies) != 1 {
			t.Errorf("%s: %d network policies, want 1", r.name, len(r.policies))
			continue
		}
		p := r.policies[0]
		if len(p.Spec.PolicyTypes) != 2 {
			t.Errorf("%s: the policy is of %v, want both directions", r.name, p.Spec.PolicyTypes)
		}
		for owner, other := range r.pods() {
			// The dev overlay's NATS is no worker.
			if uses := len(other.Spec.Containers[0].EnvFrom) > 0; uses != labels.SelectorFromSet(p.Spec.PodSelector.MatchLabels).Matches(labels.Set(other.Labels)) {
				t.Errorf("%s: the policy and %s do not fit", r.name, owner)
			}
		}
		out := map[string]bool{}
		for _, rule := range p.Spec.Egress {
			if len(rule.To) == 0 || len(rule.Ports) == 0 {
				t.Errorf("%s: egress to everywhere, or to every port", r.name)
			}
			for _, port := range rule.Ports {
				out[port.Port.String()] = true
			}
		}
		for _, name := range []string{"NATS_URL", "CERTCTL_ENTRUST_API_URL"} {
			u, err := url.Parse(env[name])
			if err != nil {
				t.Fatalf("%s: %s: %v", r.name, name, err)
			}
			port := u.Port()
			if port == "" && u.Scheme == "https" {
				port = "443"
			}
			if ip := net.ParseIP(u.Hostname()); !out[port] && (ip == nil || !ip.IsLoopback()) {
				t.Errorf("%s: no egress to port %s of %s", r.name, port, name)
			}
		}
		for _, rule := range p.Spec.Ingress {
			for _, port := range rule.Ports {
				if port.Port.StrVal != pod.Spec.Containers[0].Ports[0].Name {
					t.Errorf("%s: ingress to port %v, which the worker does not have", r.name, port.Port)
				}
			}
			if len(rule.From) == 0 {
				t.Errorf("%s: ingress from everywhere", r.name)
			}
		}
	}
}

// KEDA is given consumers that workers have, and never scales to none.
func TestScaling(t *testing.T) {
	t.Parallel()
	layout, seen := read(t, "../../internal/streams/layout.go"), 0
	for _, r := range everything(t) {
		for _, s := range r.scaled {
			seen++
			d, ok := r.deployments[s.Spec.ScaleTargetRef.Name]
			if !ok || d.Spec.Replicas != nil {
				t.Errorf("%s: %s: its target is missing, or has a number of replicas of its own", r.name, s.Metadata.Name)
			}
			if s.Spec.MinReplicaCount < 2 || s.Spec.MaxReplicaCount <= s.Spec.MinReplicaCount {
				t.Errorf("%s: scales from %d to %d", r.name, s.Spec.MinReplicaCount, s.Spec.MaxReplicaCount)
			}
			for _, trigger := range s.Spec.Triggers {
				m := trigger.Metadata
				stream := map[string]string{"worker-issue": "ENTRUST_REQUESTS", "worker-revoke": "ENTRUST_REQUESTS", "worker-poll": "ENTRUST_PARKED"}[m.Consumer]
				if lag, err := strconv.Atoi(m.LagThreshold); err != nil || lag <= 0 || stream != m.Stream || !strings.Contains(layout, strconv.Quote(m.Consumer)) || trigger.Type != "nats-jetstream" {
					t.Errorf("%s: trigger %+v is of no consumer", r.name, trigger)
				}
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d scaled objects were seen, want those of one overlay and of the chart", seen)
	}
}

// The chart and the Kustomize base describe one pod. Names, labels and the image are their own.
func TestChartIsTheBase(t *testing.T) {
	t.Parallel()
	same := func(what string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			x, _ := json.Marshal(a)
			y, _ := json.Marshal(b)
			t.Errorf("%s differs:\nchart %s\nbase  %s", what, x, y)
		}
	}
	c, b := chart(t, "by default", nil), overlay(t, "production")
	bare := func(r *rendered) (corev1.PodSpec, map[string]string) {
		pod, _, env := r.worker(t)
		spec := *pod.Spec.DeepCopy()
		spec.Containers[0].Image, spec.Containers[0].EnvFrom = "", nil
		spec.TopologySpreadConstraints[0].LabelSelector = nil
		return spec, env
	}
	chartPod, chartEnv := bare(c)
	basePod, baseEnv := bare(b)
	same("the pod", chartPod, basePod)
	for name, value := range chartEnv {
		same(name, value, baseEnv[name])
	}
	same("the strategy", c.deployments["entrust-worker"].Spec.Strategy, b.deployments["entrust-worker"].Spec.Strategy)
	same("the budget", c.budgets[0].Spec.MaxUnavailable, b.budgets[0].Spec.MaxUnavailable)
	same("ingress", c.policies[0].Spec.Ingress, b.policies[0].Spec.Ingress)
	same("egress to DNS and NATS", c.policies[0].Spec.Egress[:2], b.policies[0].Spec.Egress[:2])

	all := chart(t, "with every option", map[string]any{"keda": map[string]any{"enabled": true}, "provision": map[string]any{"enabled": true}})
	job := func(r *rendered) corev1.PodSpec {
		spec := *r.jobs[0].Spec.Template.Spec.DeepCopy()
		spec.Containers[0].Image, spec.Containers[0].EnvFrom = "", nil
		return spec
	}
	same("the job", job(all), job(b))
	triggers := func(r *rendered) map[string]trigger {
		found := map[string]trigger{}
		for _, t := range r.scaled[0].Spec.Triggers {
			found[t.Metadata.Consumer] = t
		}
		return found
	}
	scaled := overlay(t, "autoscaled")
	same("what it scales by", triggers(all), triggers(scaled))
	same("the scaling", all.scaled[0].Spec.MaxReplicaCount, scaled.scaled[0].Spec.MaxReplicaCount)
}

func TestChartRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		values map[string]any
		want   string
	}{
		{"an unknown value", map[string]any{"replica": 3}, "replica"},
		{"a setting of another program", map[string]any{"settings": map[string]any{"ENTRUST_WORKR_DRAIN": "25s"}}, "ENTRUST_WORKR_DRAIN"},
		{"a number, which YAML may change", map[string]any{"settings": map[string]any{"CERTCTL_ENTRUST_POLL_MAX_WAIT_SECONDS": 86400}}, "CERTCTL_ENTRUST_POLL_MAX_WAIT_SECONDS"},
		{"no worker", map[string]any{"replicas": 0}, "replicas"},
	} {
		if _, err := renderChart(tt.values); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}
