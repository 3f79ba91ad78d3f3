package consumer

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// Properties are the properties of enrollments that name none, by CA and name. The zero value
// has none. Make one with NewProperties. It is safe for concurrent use.
type Properties struct {
	byCA map[string]map[string]property
}

// property is one value, or a list when list is set. A text that contains "{{" is a template.
type property struct {
	items []any // string, *template.Template, bool, int64, float64
	list  bool
}

// NewProperties reads the properties of each CA: texts, numbers, booleans, and lists of them. A
// text may be a template of package text/template with these names:
//
//	.producer .id .common_name .subject_dn .ca_id .profile_id   texts
//	.names                                                      a list of texts
//	.labels                                                     texts by name; a missing one is empty
//
// A property whose text is empty is left out. The error names CA and property.
func NewProperties(byCA map[string]map[string]any) (Properties, error) {
	p := Properties{byCA: map[string]map[string]property{}}
	for _, ca := range slices.Sorted(maps.Keys(byCA)) {
		p.byCA[ca] = map[string]property{}
		for _, name := range slices.Sorted(maps.Keys(byCA[ca])) {
			one, err := newProperty(byCA[ca][name])
			if err != nil {
				return Properties{}, fmt.Errorf("%s of CA %s %w", name, ca, err)
			}
			p.byCA[ca][name] = one
		}
		// Run every template once, with an order that has no values.
		values, err := p.of(ca, facts(order.Key{}, order.Record{CAID: ca}, &entrustbus.Issue{}))
		for name, v := range values {
			if strings.Contains(fmt.Sprint(v), noValue) {
				return Properties{}, fmt.Errorf("%s of CA %s uses a name that no order has", name, ca)
			}
		}
		if err == nil {
			err = (&entrustbus.Issue{ID: "a", CSRDER: []byte{0}, Properties: values}).Validate()
		}
		if field, ok := errors.AsType[*entrustbus.FieldError](err); ok && field.Field == "properties" {
			err = fmt.Errorf("the properties of CA %s: %s", ca, field.Problem)
		} else if ok {
			err = nil // the certificate request is a dummy
		}
		if err != nil {
			return Properties{}, err
		}
	}
	return p, nil
}

func newProperty(v any) (p property, err error) {
	given := []any{v}
	if list, ok := v.([]any); ok {
		p.list, given = true, list
	}
	for _, item := range given {
		switch item := item.(type) {
		case string:
			if !strings.Contains(item, "{{") {
				p.items = append(p.items, item)
				continue
			}
			t, err := template.New("").Option("missingkey=zero").Parse(item)
			if err != nil {
				return p, fmt.Errorf("is not a valid template: %s", reason(err))
			}
			p.items = append(p.items, t)
		case bool, int64, float64:
			p.items = append(p.items, item)
		case int:
			p.items = append(p.items, int64(item))
		default:
			return p, errors.New("must be a text, a number, a boolean, or a list of these; put a date in quotes")
		}
	}
	return p, nil
}

// noValue is what package text/template prints for a missing name.
const noValue = "<no value>"

// reason is the error of a template, without the template's name, which is empty.
func reason(err error) string {
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "template: "), ":")
}

// facts are the values of an order for templates.
func facts(key order.Key, r order.Record, q *entrustbus.Issue) map[string]any {
	of := map[string]any{
		"producer": key.Producer, "id": key.ID, "ca_id": r.CAID, "profile_id": r.ProfileID,
		"common_name": "", "subject_dn": q.SubjectDN, "names": []string{}, "labels": q.Labels,
	}
	if csr, err := q.CertificateRequest(); err == nil {
		of["common_name"] = csr.Subject.CommonName
	}
	if sans, err := q.Names(); err == nil {
		names := make([]string, len(sans))
		for i, n := range sans {
			names[i] = n.Value
		}
		of["names"] = names
	}
	return of
}

// with returns the properties of an enrollment: those of the request, then the configured ones
// that it does not name.
func (p Properties) with(key order.Key, r order.Record, q *entrustbus.Issue) (map[string]any, error) {
	if len(p.byCA[r.CAID]) == 0 {
		return q.Properties, nil
	}
	all, err := p.of(r.CAID, facts(key, r, q))
	if err != nil {
		return nil, err
	}
	maps.Copy(all, q.Properties)
	return all, nil
}

func (p Properties) of(ca string, facts map[string]any) (map[string]any, error) {
	all := map[string]any{}
	for name, one := range p.byCA[ca] {
		items := []any{}
		for _, item := range one.items {
			t, ok := item.(*template.Template)
			if !ok {
				items = append(items, item)
				continue
			}
			var text strings.Builder
			if err := t.Execute(&text, facts); err != nil {
				return nil, fmt.Errorf("the template of the configured property %s of CA %s failed: %s", name, ca, reason(err))
			}
			if s := strings.TrimSpace(text.String()); s != "" {
				items = append(items, s)
			}
		}
		switch {
		case one.list && (len(items) > 0 || len(one.items) == 0):
			all[name] = items
		case !one.list && len(items) == 1:
			all[name] = items[0]
		}
	}
	return all, nil
}
