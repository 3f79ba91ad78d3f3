package entrustbus

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

func errMissing(field string) *FieldError {
	return &FieldError{Field: field, Problem: "is missing"}
}

func errTooLong(field string, most int) *FieldError {
	return &FieldError{Field: field, Problem: fmt.Sprintf("is longer than %d bytes", most)}
}

// checkText takes one line of text for people, or nothing.
func checkText(field, s string, most int) error {
	switch {
	case len(s) > most:
		return errTooLong(field, most)
	case !graphic(s):
		return &FieldError{Field: field, Problem: "contains a control character"}
	case s != "" && strings.TrimSpace(s) == "":
		return &FieldError{Field: field, Problem: "is blank", Fix: "leave the key out"}
	}
	return nil
}

// checkName takes a name that becomes part of a URL, or nothing. A dot segment would change the path even escaped.
func checkName(field, s string, most int) error {
	if err := checkText(field, s, most); err != nil {
		return err
	}
	if s == "." || s == ".." || strings.TrimSpace(s) != s {
		return &FieldError{Field: field, Problem: "is a dot segment or has blanks around it"}
	}
	return nil
}

// checkDN takes a distinguished name, or nothing. Only the gateway knows which attributes it understands.
func checkDN(field, s string) error {
	if err := checkText(field, s, MaxSubjectDNBytes); err != nil {
		return err
	}
	if s != SubjectOmit && s != "" && !strings.Contains(s, "=") {
		return &FieldError{Field: field, Problem: "has no attribute", Fix: "write it as CN=…,O=…, or omit for none"}
	}
	return nil
}

func graphic(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) })
}

func checkLabels(labels map[string]string) error {
	if len(labels) > MaxLabels {
		return &FieldError{Field: "labels", Problem: fmt.Sprintf("has more than %d entries", MaxLabels)}
	}
	for key, value := range labels {
		switch {
		case key == "" || len(key) > MaxLabelKeyBytes || !graphic(key):
			return &FieldError{
				Field:   "labels",
				Problem: fmt.Sprintf("has a key that is not 1 to %d bytes of text on one line", MaxLabelKeyBytes),
			}
		case len(value) > MaxLabelValueBytes || !utf8.ValidString(value):
			return &FieldError{
				Field:   "labels",
				Problem: fmt.Sprintf("has a value longer than %d bytes or not UTF-8", MaxLabelValueBytes),
			}
		}
	}
	return nil
}
