{{- define "bowline.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* By which the operator's pod is found: these never change, a Deployment's selector can't. */ -}}
{{- define "bowline.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "bowline.ownLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "bowline.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: bowline
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- /* Of (list CONTEXT FURTHER...): the chart's own labels win, since selectors rest on them. */ -}}
{{- define "bowline.labels" -}}
{{- $context := first . -}}
{{- $labels := dict -}}
{{- range rest . -}}
{{- $labels = mergeOverwrite $labels . -}}
{{- end -}}
{{- $labels = mergeOverwrite $labels $context.Values.commonLabels (fromYaml (include "bowline.ownLabels" $context)) -}}
{{- toYaml $labels -}}
{{- end -}}

{{- define "bowline.workerLabels" -}}
app.kubernetes.io/name: bowline-worker
app.kubernetes.io/managed-by: bowline
{{- end -}}

{{- define "bowline.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "bowline.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "bowline.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The namespaces that are served, comma separated; empty: all of the cluster. */ -}}
{{- define "bowline.namespaces" -}}
{{- if not .Values.watch.clusterWide -}}
{{- join "," (default (list .Release.Namespace) .Values.watch.namespaces) -}}
{{- end -}}
{{- end -}}

{{- /* All that the operator may do to namespaced resources. Secrets are not among it, on purpose. */ -}}
{{- define "bowline.rules" -}}
- apiGroups: [bowline.dev]
  resources: [databasemigrations]
  verbs: [get, list, watch, patch]
- apiGroups: [bowline.dev]
  resources: [databasemigrations/status]
  verbs: [get, update, patch]
- apiGroups: [bowline.dev]
  resources: [databasemigrations/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, create, patch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}

{{- define "bowline.podSecurityContext" -}}
runAsNonRoot: true
{{- with .Values.runAs }}
{{- if not (kindIs "invalid" .user) }}
runAsUser: {{ .user | int64 }}
{{- end }}
{{- if not (kindIs "invalid" .group) }}
runAsGroup: {{ .group | int64 }}
{{- end }}
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "bowline.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
