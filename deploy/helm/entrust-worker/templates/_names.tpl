{{/* The name of everything: that of the release, with the chart's in it. */}}
{{- define "entrust-worker.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* Labels that tell this release's workers from others. */}}
{{- define "entrust-worker.selector" -}}
app.kubernetes.io/name: entrust-worker
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "entrust-worker.labels" -}}
app.kubernetes.io/part-of: entrust-worker
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "entrust-worker.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* What every pod is confined to. */}}
{{- define "entrust-worker.pod" -}}
automountServiceAccountToken: false
# Links would put ENTRUST_WORKER_SERVICE_HOST and the like into the worker's environment.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  # Files of the credentials volume belong to this group.
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "entrust-worker.container" -}}
image: {{ include "entrust-worker.image" . }}
{{- if ne .Values.image.pullPolicy "IfNotPresent" }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
envFrom:
  - configMapRef: {name: {{ include "entrust-worker.name" . }}}
volumeMounts:
  # The directory, and no subPath: the kubelet does not update files that are mounted by themselves.
  - {name: credentials, mountPath: /run/entrust, readOnly: true}
{{- end }}
