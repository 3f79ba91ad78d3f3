{{/* The name of every object: the release's name, with the chart's name in it. */}}
{{- define "entrust-worker.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* Labels that select the workers of this release only. */}}
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

{{/* The restrictions of every pod. */}}
{{- define "entrust-worker.pod" -}}
automountServiceAccountToken: false
# Service links would put ENTRUST_WORKER_SERVICE_HOST and similar names into the worker's environment.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  # This group owns the files of the credentials volume.
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
  # Mount the directory without subPath: the kubelet does not update a file that is mounted by itself.
  - {name: credentials, mountPath: /run/entrust, readOnly: true}
{{- end }}
