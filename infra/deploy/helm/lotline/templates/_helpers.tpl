{{/* Names, labels, and the pod that both StatefulSets run. */}}

{{- define "lotline.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "lotline.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "lotline.labels" -}}
{{ include "lotline.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "lotline.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "lotline.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Combinations that would start and then not work. */}}
{{- define "lotline.check" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.cluster.address) -}}
{{- fail "cluster.address: several nodes forward commands to each other and have to know where; the default is http://$(POD_IP):8080" -}}
{{- end -}}
{{- if has "collector" .Values.roles -}}
{{- fail "roles: machines are read by the one node of `collector.enabled`, or every replica would read them" -}}
{{- end -}}
{{- end -}}

{{/* One node. Takes root, roles, resources and whether it is the collector. */}}
{{- define "lotline.pod" -}}
{{- $root := .root -}}
metadata:
  labels:
    {{- include "lotline.selector" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
    {{- with $root.Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # A change of the configuration starts the nodes again, one after the other.
    checksum/config: {{ include (print $root.Template.BasePath "/configmap.yaml") $root | sha256sum }}
    {{- with $root.Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "lotline.serviceAccount" $root }}
  # A node has no business with Kubernetes.
  automountServiceAccountToken: false
  # Kubernetes would set LOTLINE_PORT and the like for a Service called lotline, which the configuration refuses as unknown keys.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $root.Values.terminationGracePeriodSeconds }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    seccompProfile:
      type: RuntimeDefault
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  containers:
    - name: lotline
      image: "{{ $root.Values.image.repository }}:{{ default $root.Chart.AppVersion $root.Values.image.tag }}"
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: ["--config", "/etc/lotline/lotline.toml", "serve", "--roles", {{ join "," .roles | quote }}]
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: ["ALL"]
      env:
        - name: POD_NAME
          valueFrom: { fieldRef: { fieldPath: metadata.name } }
        - name: POD_IP
          valueFrom: { fieldRef: { fieldPath: status.podIP } }
        - name: LOTLINE_API__BIND
          value: 0.0.0.0:8080
        {{- with $root.Values.access.issuer }}
        - name: LOTLINE_ACCESS__ISSUER
          value: {{ . | quote }}
        {{- end }}
        {{- if $root.Values.access.existingSecret }}
        - name: LOTLINE_ACCESS__ENCRYPTION_FILE
          value: /etc/lotline-access/signing.key
        {{- end }}
        - name: LOTLINE_CLUSTER__NODE
          value: $(POD_NAME)
        {{- with $root.Values.cluster.address }}
        - name: LOTLINE_CLUSTER__ADDRESS
          value: {{ . | quote }}
        {{- end }}
        - name: LOTLINE_COLLECTOR__BUFFER__DIR
          value: /var/lib/lotline/buffer
        - name: LOTLINE_POSTGRES__URL
          valueFrom:
            secretKeyRef:
              name: {{ required "postgres.existingSecret names the Secret with PostgreSQL's URL" $root.Values.postgres.existingSecret }}
              key: {{ $root.Values.postgres.key }}
        {{- with $root.Values.postgres.serveKey }}
        - name: LOTLINE_POSTGRES__SERVE_URL
          valueFrom:
            secretKeyRef:
              name: {{ $root.Values.postgres.existingSecret }}
              key: {{ . }}
        {{- end }}
        {{- with $root.Values.kafka.sasl }}
        {{- if .existingSecret }}
        - name: LOTLINE_KAFKA__CLIENT__SASL_USERNAME
          valueFrom: { secretKeyRef: { name: {{ .existingSecret }}, key: {{ .usernameKey }} } }
        - name: LOTLINE_KAFKA__CLIENT__SASL_PASSWORD
          valueFrom: { secretKeyRef: { name: {{ .existingSecret }}, key: {{ .passwordKey }} } }
        {{- end }}
        {{- end }}
        {{- if $root.Values.kafka.tls.existingSecret }}
        - name: LOTLINE_KAFKA__CLIENT__SSL_CA_LOCATION
          value: /etc/lotline-tls/ca.pem
        {{- end }}
      ports:
        - name: http
          containerPort: 8080
      # The binary asks itself: it knows its address and what its roles must answer.
      startupProbe:
        exec:
          command: ["lotline", "--config", "/etc/lotline/lotline.toml", "health", "--live", "--timeout-ms", "3000"]
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: {{ max 1 (div (int $root.Values.startupSeconds) 5) }}
      livenessProbe:
        exec:
          command: ["lotline", "--config", "/etc/lotline/lotline.toml", "health", "--live", "--timeout-ms", "3000"]
        periodSeconds: 15
        timeoutSeconds: 5
        failureThreshold: 4
      readinessProbe:
        exec:
          command: ["lotline", "--config", "/etc/lotline/lotline.toml", "health", "--timeout-ms", "8000"]
        periodSeconds: 10
        timeoutSeconds: 10
        failureThreshold: 2
      resources:
        {{- toYaml .resources | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: /etc/lotline
          readOnly: true
        - name: data
          mountPath: /var/lib/lotline
        {{- if $root.Values.kafka.tls.existingSecret }}
        - name: kafka-tls
          mountPath: /etc/lotline-tls
          readOnly: true
        {{- end }}
        {{- if $root.Values.access.existingSecret }}
        - name: access
          mountPath: /etc/lotline-access
          readOnly: true
        {{- end }}
    {{- with $root.Values.sidecars }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "lotline.fullname" $root }}
    {{- if ne .component "collector" }}
    # Nothing that must last: the buffer is the collector's.
    - name: data
      emptyDir:
        sizeLimit: 64Mi
    {{- end }}
    {{- if $root.Values.kafka.tls.existingSecret }}
    - name: kafka-tls
      secret:
        secretName: {{ $root.Values.kafka.tls.existingSecret }}
        items:
          - key: {{ $root.Values.kafka.tls.key }}
            path: ca.pem
    {{- end }}
    {{- if $root.Values.access.existingSecret }}
    - name: access
      secret:
        secretName: {{ $root.Values.access.existingSecret }}
        # The user of the container reads it by its group.
        defaultMode: 0440
        items:
          - key: {{ $root.Values.access.key }}
            path: signing.key
    {{- end }}
  {{- if and $root.Values.topologySpread.enabled (ne .component "collector") }}
  topologySpreadConstraints:
    {{- $component := .component }}
    {{- range $root.Values.topologySpread.keys }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "lotline.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ $component }}
    {{- end }}
  {{- end }}
  {{- with $root.Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
