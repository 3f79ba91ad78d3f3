// Package kubernetes holds the manifests of a worker in Kubernetes. It has no code but these
// tests, which render the overlays and the Helm chart beside it as kustomize and helm do, and
// check what comes out. It is a module of its own: the worker needs nothing of Kubernetes.
//
//	cd deploy/kubernetes && GOWORK=off go test ./...
package kubernetes

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const chartFolder = "../helm/entrust-worker"

// scaledObject is what these files use of KEDA's type.
type scaledObject struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string            `json:"name"`
		Namespace string            `json:"namespace"`
		Labels    map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		ScaleTargetRef struct {
			Name string `json:"name"`
		} `json:"scaleTargetRef"`
		MinReplicaCount int       `json:"minReplicaCount"`
		MaxReplicaCount int       `json:"maxReplicaCount"`
		PollingInterval int       `json:"pollingInterval"`
		CooldownPeriod  int       `json:"cooldownPeriod"`
		Triggers        []trigger `json:"triggers"`
	} `json:"spec"`
}

// trigger is what KEDA scales by.
type trigger struct {
	Type     string `json:"type"`
	Metadata struct {
		Endpoint     string `json:"natsServerMonitoringEndpoint"`
		Account      string `json:"account"`
		Stream       string `json:"stream"`
		Consumer     string `json:"consumer"`
		LagThreshold string `json:"lagThreshold"`
	} `json:"metadata"`
}

// rendered is everything that one overlay, or one set of values, makes.
type rendered struct {
	name        string
	deployments map[string]*appsv1.Deployment
	jobs        []*batchv1.Job
	services    []*corev1.Service
	maps        map[string]*corev1.ConfigMap
	accounts    map[string]*corev1.ServiceAccount
	budgets     []*policyv1.PodDisruptionBudget
	policies    []*networkingv1.NetworkPolicy
	namespaces  []*corev1.Namespace
	scaled      []*scaledObject
}

// add decodes one object and refuses what its type does not have.
func (r *rendered) add(text []byte) error {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := yaml.Unmarshal(text, &head); err != nil {
		return err
	}
	kind := head.APIVersion + " " + head.Kind
	into := func(object any) error {
		if err := yaml.UnmarshalStrict(text, object); err != nil {
			return fmt.Errorf("decoding %s: %w", kind, err)
		}
		return nil
	}
	switch kind {
	case "apps/v1 Deployment":
		o := new(appsv1.Deployment)
		err := into(o)
		r.deployments[o.Name] = o
		return err
	case "batch/v1 Job":
		r.jobs = append(r.jobs, new(batchv1.Job))
		return into(r.jobs[len(r.jobs)-1])
	case "v1 Service":
		r.services = append(r.services, new(corev1.Service))
		return into(r.services[len(r.services)-1])
	case "v1 ConfigMap":
		o := new(corev1.ConfigMap)
		err := into(o)
		r.maps[o.Name] = o
		return err
	case "v1 ServiceAccount":
		o := new(corev1.ServiceAccount)
		err := into(o)
		r.accounts[o.Name] = o
		return err
	case "v1 Namespace":
		r.namespaces = append(r.namespaces, new(corev1.Namespace))
		return into(r.namespaces[len(r.namespaces)-1])
	case "policy/v1 PodDisruptionBudget":
		r.budgets = append(r.budgets, new(policyv1.PodDisruptionBudget))
		return into(r.budgets[len(r.budgets)-1])
	case "networking.k8s.io/v1 NetworkPolicy":
		r.policies = append(r.policies, new(networkingv1.NetworkPolicy))
		return into(r.policies[len(r.policies)-1])
	case "keda.sh/v1alpha1 ScaledObject":
		r.scaled = append(r.scaled, new(scaledObject))
		return into(r.scaled[len(r.scaled)-1])
	}
	return fmt.Errorf("unknown kind %s", kind)
}

// pods are the pod templates, by the kind and name of their owner.
func (r *rendered) pods() map[string]*corev1.PodTemplateSpec {
	pods := map[string]*corev1.PodTemplateSpec{}
	for _, d := range r.deployments {
		pods["deployment "+d.Name] = &d.Spec.Template
	}
	for _, j := range r.jobs {
		pods["job "+j.Name] = &j.Spec.Template
	}
	return pods
}

func newRendered(t *testing.T, name string, objects []byte) *rendered {
	t.Helper()
	r := &rendered{name: name, deployments: map[string]*appsv1.Deployment{}, maps: map[string]*corev1.ConfigMap{}, accounts: map[string]*corev1.ServiceAccount{}}
	for object := range bytes.SplitSeq(objects, []byte("\n---\n")) {
		if len(bytes.TrimSpace(object)) == 0 {
			continue
		}
		if err := r.add(object); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, object)
		}
	}
	return r
}

// overlay builds one overlay, as kubectl apply -k does.
func overlay(t *testing.T, name string) *rendered {
	t.Helper()
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "overlays/"+name)
	if err != nil {
		t.Fatal(err)
	}
	text, err := objects.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return newRendered(t, "overlay "+name, text)
}

// renderChart renders the chart with values over its own, as helm install does.
func renderChart(values map[string]any) (map[string]string, error) {
	c, err := loader.Load(chartFolder)
	if err != nil {
		return nil, err
	}
	all, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "entrust-worker", Namespace: "entrust", IsInstall: true}, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(c, all)
}

func chart(t *testing.T, name string, values map[string]any) *rendered {
	t.Helper()
	files, err := renderChart(values)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(file, ".yaml") {
			fmt.Fprintf(&all, "%s\n---\n", files[file])
		}
	}
	return newRendered(t, "chart "+name, []byte(all.String()))
}

// everything is each overlay that there is, and the chart without and with its options.
func everything(t *testing.T) []*rendered {
	t.Helper()
	folders, err := os.ReadDir("overlays")
	if err != nil {
		t.Fatal(err)
	}
	var all []*rendered
	for _, f := range folders {
		all = append(all, overlay(t, f.Name()))
	}
	return append(all,
		chart(t, "by default", nil),
		chart(t, "with every option", map[string]any{
			"keda": map[string]any{"enabled": true}, "provision": map[string]any{"enabled": true},
			"tolerations":  []any{map[string]any{"key": "pki", "operator": "Exists"}},
			"nodeSelector": map[string]any{"kubernetes.io/os": "linux"},
			"affinity":     map[string]any{"nodeAffinity": map[string]any{}},
			"image":        map[string]any{"repository": "registry.example/entrust-worker", "tag": "v9", "pullPolicy": "Always", "pullSecrets": []any{map[string]any{"name": "registry"}}},
		}))
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
